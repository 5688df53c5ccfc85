#!/usr/bin/env python3
"""Computes the vectors of HTTP Message Signatures: message-signatures.json and rfc9421.json.

Those of RFC 9421 are copied from it. The others are signed here with Python's hmac, without the crate that verifies them.
"""

import base64, hashlib, hmac, json

RFC_NOW = 1_618_884_473
NOW = 1_700_000_000
RFC_SECRET = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
ED25519 = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
P256 = ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf"
        "w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==")
RSA_PSS = ("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+"
           "Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgc"
           "hwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9"
           "v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB")
# The RFC has this key as PKCS#1; the first bytes make it a SubjectPublicKeyInfo.
RSA = base64.b64encode(bytes.fromhex("30820122300d06092a864886f70d01010105000382010f00") + base64.b64decode(
    "MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrwWEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSK"
    "obBpKDeBLOsdJKFqMGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZgkne/YiktSvLG34lw2zqXBDTC5NHROUqG"
    "TlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0PuKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQPSXSfBDiUGhwOw76"
    "WuSSsf1D4b/vLoJ10wIDAQAB")).decode()
CLIENT_CERT = (
    ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0"
    "ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaU"
    "gmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAW"
    "gBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1w"
    "bGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBV"
    "oU4hBVZ1yhk=:")
RFC_DIGEST = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
RFC_BODY = '{"hello": "world"}'
CASES = []


def scheme(components, algorithm="hmac-sha256", encoding="spki", past=300, future=60, **message):
    return {"signature": {"header": "signature", "message": {"components": components, **message}},
            "algorithm": algorithm, "secret": {"encoding": "base64" if algorithm == "hmac-sha256" else encoding},
            "timestamp": {"field": "created", "unit": "s", "pastSeconds": past, "futureSeconds": future},
            "assurance": "signed" if "content-digest" in components else "partial"}


def case(name, scheme, secrets, headers, error=None, method="POST", url="https://example.com/foo?param=Value&Pet=dog",
         body=RFC_BODY, now=RFC_NOW, secret=None):
    CASES.append({"name": name, "scheme": scheme, "secrets": secrets, "method": method, "url": url, "headers": headers,
                  "body": body, "now_unix_s": now, "error": error, "secret": secret})


def rfc(section, scheme, key, label, covered, signature, error=None, url="https://example.com/foo?param=Value&Pet=dog",
        more=(), **other):
    headers = [["date", "Tue, 20 Apr 2021 02:07:55 GMT"], ["content-type", "application/json"],
               ["content-digest", RFC_DIGEST], ["content-length", "18"], *more,
               ["signature-input", f"{label}={covered}"], ["signature", f"{label}=:{signature}:"]]
    case(f"RFC 9421, {section}", scheme, [key], headers, error, url=url, **other)


# RFC 9421, appendix B.2, B.3 and section 4.3.
PSS = {"keyid": "test-key-rsa-pss", "secret": RSA_PSS}
B21 = ("d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG"
       "52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVro"
       "gUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ"
       "98Xw9Q==")
b21 = '();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"'
rfc("B.2.1", scheme([], "rsa-pss-sha512"), PSS, "sig-b21", b21, B21)
rfc("B.2.1, with a component required", scheme(["@method"], "rsa-pss-sha512"), PSS, "sig-b21", b21, B21,
    "the component @method is not covered by the signature")
B22 = ("LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT"
       "8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBS"
       "pqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTu"
       "gEjHSw==")
b22 = '("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"'
b22_scheme = scheme(["@authority", "content-digest"], "rsa-pss-sha512", tag="header-example")
rfc("B.2.2", b22_scheme, PSS, "sig-b22", b22, B22)
rfc("B.2.2, for another tag", scheme(["@authority", "content-digest"], "rsa-pss-sha512", tag="other"), PSS, "sig-b22",
    b22, B22, "the message signature has another tag")
rfc("B.2.2, with another body", b22_scheme, PSS, "sig-b22", b22, B22, "the body is not that of the header content-digest",
    body='{"hello": "World"}')
rfc("B.2.2, with the parameter twice", b22_scheme, PSS, "sig-b22", b22, B22,
    "the component @query-param is covered, and the query does not have its name exactly once",
    url="https://example.com/foo?Pet=cat&Pet=dog")
rfc("B.2.2, with another parameter", b22_scheme, PSS, "sig-b22", b22, B22, "no signature matches",
    url="https://example.com/foo?Pet=cat")
b23 = ('("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length")'
       ';created=1618884473;keyid="test-key-rsa-pss"')
B23 = ("bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fU"
       "xN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA"
       "1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKE"
       "gM4cUA==")
full = scheme(["@method", "@authority", "@path", "@query", "content-digest"], "rsa-pss-sha512")
rfc("B.2.3", full, PSS, "sig-b23", b23, B23)
rfc("B.2.3, on another path", full, PSS, "sig-b23", b23, B23, "no signature matches", url="https://example.com/fop?param=Value&Pet=dog")
rfc("B.2.3, without the URL", full, PSS, "sig-b23", b23, B23, "the signed text cannot be made: the URL is missing", url="")
b24 = '("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"'
rfc("B.2.4, a response", scheme(["content-digest"], "ecdsa-p256-fixed"), P256, "sig-b24", b24,
    "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
    "the message signature covers a component that is not known")
b25 = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
B25 = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="
rfc("B.2.5", scheme(["@authority"]), RFC_SECRET, "sig-b25", b25, B25)
rfc("B.2.5, where the body must be signed", scheme(["@authority", "content-digest"]), RFC_SECRET, "sig-b25", b25, B25,
    "the component content-digest is not covered by the signature")
b26 = '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"'
B26 = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
rfc("B.2.6", scheme(["@method"], "ed25519"), ED25519, "sig-b26", b26, B26)
rfc("B.2.6, a host in capitals with the default port", scheme(["@method"], "ed25519"), ED25519, "sig-b26", b26, B26,
    url="https://EXAMPLE.com:443/foo")
rfc("B.2.6, another port", scheme(["@method"], "ed25519"), ED25519, "sig-b26", b26, B26, "no signature matches",
    url="https://example.com:8443/foo")
case("RFC 9421, B.3", scheme(["@path", "@query", "@method", "@authority", "client-cert"], "ecdsa-p256-fixed"), [P256], [
    ["client-cert", CLIENT_CERT],
    ["signature-input", 'ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"'],
    ["signature", "ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:"],
], url="https://service.internal.example/foo?param=Value&Pet=dog")
transform = [["signature-input", 'transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"'],
             ["signature", "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:"]]
for what, accept, error in [("two lines", [["accept", "application/json"], ["accept", "*/*"]], None),
                            ("one line", [["accept", "  application/json, */*\t"]], None),
                            ("another order", [["accept", "*/*"], ["accept", "application/json"]], "no signature matches"),
                            ("another comma", [["accept", "application/json,*/*"]], "no signature matches")]:
    case(f"RFC 9421, B.4, {what}", scheme(["@method", "accept"], "ed25519"), [ED25519], accept + transform, error,
         method="GET", url="https://example.org/demo?name1=Value1&Name2=value2", body="")
both = [
    ["content-type", "application/json"], ["content-digest", RFC_DIGEST], ["content-length", "18"],
    ["forwarded", "for=192.0.2.123;host=example.com;proto=https"],
    ["signature-input", 'sig1=("@method" "@authority" "@path" "content-digest" "content-type" "content-length")'
     ';created=1618884475;keyid="test-key-ecc-p256", proxy_sig=("@method" "@authority" "@path" "content-digest" "content-type" '
     '"content-length" "forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540'],
    ["signature", "sig1=:X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==:, "
     "proxy_sig=:S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsO"
     "ckpURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2"
     "ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5o0LV"
     "/g==:"]]
proxy = ["@method", "@authority", "@path", "content-digest"]
internal = "https://origin.host.internal.example/foo?param=Value&Pet=dog"
rsa = scheme(proxy + ["forwarded"], "rsa-pkcs1-sha256")
case("RFC 9421, 4.3, the signature of the proxy", rsa, [RSA], both, url=internal, now=1_618_884_500)
case("RFC 9421, 4.3, by its label", scheme(proxy, "rsa-pkcs1-sha256", label="proxy_sig"), [RSA], both, url=internal, now=1_618_884_540)
case("RFC 9421, 4.3, expired", rsa, [RSA], both, "the component forwarded is not covered by the signature", url=internal, now=1_618_884_541)
case("RFC 9421, 4.3, expired, by its label", scheme(proxy, "rsa-pkcs1-sha256", label="proxy_sig"), [RSA], both,
     "the message signature has expired", url=internal, now=1_618_884_541)
case("RFC 9421, 4.3, a label that is not there", scheme(proxy, "rsa-pkcs1-sha256", label="sig2"), [RSA], both,
     "a signature sig2 in the header signature-input is missing", url=internal, now=1_618_884_500)
case("RFC 9421, 4.3, the signature of the client, at its URL", scheme(proxy, "ecdsa-p256-fixed"), [P256], both,
     url="https://example.com/foo?param=Value&Pet=dog", now=1_618_884_500)

# Signed here, as the entry of the catalog.
KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
URL, BODY = "https://api.example.com/orders?a=1", '{"order":1}'
COVERED = ["@method", "@authority", "@path", "@query", "idempotency-key", "content-digest"]


def b64(value):
    return base64.b64encode(value).decode()


def digest(body, name="sha256"):
    return f"sha-{name[3:]}=:{b64(hashlib.new(name, body.encode()).digest())}:"


def signed(key=KEY, components=COVERED, params=f";created={NOW}", values=(), label="sig1", body=BODY, digests=None):
    """Returns the headers of a request that is signed over these components, each with its identifier as it is written."""
    digests = digests or digest(body)
    known = {"@method": "POST", "@authority": "api.example.com", "@path": "/orders", "@query": "?a=1", "@scheme": "https",
             "@target-uri": URL, "idempotency-key": "k-1", "content-digest": digests, "x-empty": "", **dict(values)}
    quoted = [name if name.startswith('"') else f'"{name}"' for name in components]
    covered = f"({' '.join(quoted)}){params}"
    lines = [f"{identifier}: {known[name]}" for identifier, name in zip(quoted, components)]
    base = "\n".join([*lines, f'"@signature-params": {covered}'])
    signature = b64(hmac.new(key, base.encode(), "sha256").digest())
    return {"idempotency-key": "k-1", "content-digest": digests, "signature-input": f"{label}={covered}",
            "signature": f"{label}=:{signature}:"}


def own(name, headers, error=None, secrets=None, body=BODY, scheme="http-message-signatures", more=(), **other):
    headers = [[header, value] for header, value in headers.items() if value is not None] + [list(pair) for pair in more]
    case(name, scheme, secrets or [b64(KEY)], headers, error, url=URL, body=body, now=other.pop("now", NOW), **other)


good = signed()
own("as the catalog requires", good)
own("a string with escapes is written again as it was", signed(params=f';created={NOW};nonce="a\\"b\\\\c"'))
own("white space in the list is not signed", {**good, "signature-input": good["signature-input"].replace("(", "(  ").replace(")", "  )")})
own("more components than required", signed(components=[*COVERED, "@scheme", "@target-uri", "x-empty"]), more=[("x-empty", "")])
own("both digests", signed(digests=f"{digest(BODY)}, {digest(BODY, 'sha512')}"))
own("an unknown digest beside a known one", signed(digests=f"{digest(BODY)}, md5=:AAAA:"))
own("the algorithm of the scheme", signed(params=f';created={NOW};alg="hmac-sha256"'))
own("not expired", signed(params=f";created={NOW};expires={NOW}"))

own("another body", good, "the body is not that of the header content-digest", body='{"order":2}')
own("another body with its digest", {**good, "content-digest": digest('{"order":2}')}, "no signature matches", body='{"order":2}')
own("the digest of another body is signed", signed(digests=digest("{}")), "the body is not that of the header content-digest")
own("one of two digests is wrong", signed(digests=f"{digest(BODY)}, {digest('{}', 'sha512')}"), "the body is not that of the header content-digest")
own("an insecure digest alone", signed(digests="md5=:AAAA:"), "the component content-digest has neither sha-256 nor sha-512")
own("a digest that is a text", signed(digests='sha-256="a"'), "the header content-digest is malformed")
own("a digest twice", signed(digests=f"{digest(BODY)}, {digest(BODY)}"), "the header content-digest is malformed")
own("another idempotency key", {**good, "idempotency-key": "k-2"}, "no signature matches")
own("no idempotency key", {**good, "idempotency-key": None}, "the header idempotency-key is missing")
own("two idempotency keys", good, "the header idempotency-key has several values", more=[("idempotency-key", "k-2")])
own("no digest", {**good, "content-digest": None}, "the header content-digest is missing")
own("no Signature-Input", {**good, "signature-input": None}, "the header signature-input is missing")
own("no Signature", {**good, "signature": None}, "the header signature is missing")
own("Signature twice", good, "the header signature has several values", more=[("signature", good["signature"])])
own("Signature-Input twice", good, "the header signature-input has several values", more=[("signature-input", good["signature-input"])])
own("a label twice", {**good, "signature": f"{good['signature']}, {good['signature']}"}, "the header signature is malformed")
own("a label twice in Signature-Input", {**good, "signature-input": f"{good['signature-input']}, {good['signature-input']}"}, "the header signature-input is malformed")
own("a label that Signature lacks", {**good, "signature": good["signature"].replace("sig1", "sig2")}, "a signature sig1 in the header signature is missing")
for name in COVERED:
    own(f"{name} is not covered", signed(components=[other for other in COVERED if other != name]), f"the component {name} is not covered by the signature")
own("300 s old", good, now=NOW + 300)
own("301 s old", good, "signed 301 s ago", now=NOW + 301)
own("61 s in the future", good, "signed 61 s in the future", now=NOW - 61)
own("expired", signed(params=f";created={NOW};expires={NOW + 9}"), "the message signature has expired", now=NOW + 10)
own("without created", signed(params=""), "the message signature has no time of creation")
own("created is a text", signed(params=f';created="{NOW}"'), "the message signature has a parameter of another type")
own("created is a fraction", signed(params=f";created={NOW}.5"), "the message signature has a parameter of another type")
own("created is negative", signed(params=";created=-1"), "the field created of the signature is not a time in seconds")
own("another algorithm", signed(params=f';created={NOW};alg="ed25519"'), "the message signature has another algorithm than the scheme")
own("an unknown parameter", signed(params=f";created={NOW};x=1"), "the message signature has a parameter that is not one of RFC 9421")
own("a component twice", signed(components=[*COVERED, "@path"]), "the message signature covers a component twice")
own("an unknown derived component", signed(components=[*COVERED, "@request-target"], values=[("@request-target", "/orders?a=1")]), "the message signature covers a component that is not known")
own("a component in capitals", signed(components=[*COVERED, "X-Empty"], values=[("X-Empty", "")]), "the message signature covers a component that is not known", more=[("x-empty", "")])
own("a parameter of a component", signed(components=[*COVERED, '"x-empty";bs'], values=[('"x-empty";bs', "")]), "the message signature covers a component with a parameter that is not supported", more=[("x-empty", "")])
own("a required component with a parameter", signed(components=[*COVERED[:-1], '"content-digest";req'], values=[('"content-digest";req', digest(BODY))]), "the message signature covers a component with a parameter that is not supported")
own("a header that is not there", signed(components=[*COVERED, "x-empty"]), "the component x-empty is covered, and the request does not have it")
own("a header outside of ASCII", signed(components=[*COVERED, "x-name"], values=[("x-name", "é")]), "the component x-name is not ASCII text", more=[("x-name", "é")])
own("another secret", signed(key=OTHER), "no signature matches")
own("the second of two secrets", signed(key=OTHER), secrets=[b64(KEY), b64(OTHER)], secret=1)

NAMED = [{"keyid": "a", "secret": b64(KEY)}, {"keyid": "b", "secret": b64(OTHER)}]
keyid = lambda name: f';created={NOW};keyid="{name}"'
own("the secret that keyid names", signed(key=OTHER, params=keyid("b")), secrets=NAMED, secret=1)
own("the secret of another keyid", signed(key=OTHER, params=keyid("a")), "no signature matches", secrets=NAMED)
own("an unknown keyid", signed(params=keyid("c")), "no signature matches", secrets=NAMED)
own("no keyid", signed(), "no signature matches", secrets=NAMED)
own("a secret without a name fits any other keyid", signed(params=keyid("c")), secrets=[*NAMED, b64(KEY)], secret=2)
own("a secret without a name does not fit a named keyid", signed(key=KEY, params=keyid("b")), "no signature matches", secrets=[*NAMED, b64(KEY)])
own("two secrets of a keyid, in a rotation", signed(key=OTHER, params=keyid("a")), secrets=[NAMED[0], {"keyid": "a", "secret": b64(OTHER)}], secret=1)

params = f";created={NOW}"
for value in ["", "sig1", "sig1=()", f"sig1=(){params}", f'sig1=("@method"{params}', f"sig1=(@method){params}", "sig1=1", "sig1=:AA==:",
              f'sig1=("@method" {params}', f"Sig1=(){params}", f"sig1=(){params},", f'sig1=("@method""@path"){params}', "é=1",
              f'sig1=("@query-param"){params}', f'sig1=("@query-param";name=1){params}', f'sig1=("@method\n"){params}'.replace("\n", "\\n"),
              f'sig1=("a: b"){params}', f'sig1=("a\\"b"){params}', f'sig1=(1){params}', "(" * 2000, "sig1=(" + '"a" ' * 200 + f"){params}",
              ", ".join(f"s{n}=(){params}" for n in range(17)), "sig1=" + "9" * 30, f"sig1=();created={'9' * 15}", f"sig1=();created={'9' * 16}",
              "sig1=();created=@1", "sig1=();created=?1", "sig1=();created=?1;created=?0", f"sig1=(){params};alg=hmac-sha256"]:
    own(f"hostile Signature-Input {value[:40]!r}", {**good, "signature-input": value}, "*")
for value in ["", "sig1", "sig1=1", 'sig1="a"', "sig1=:A", "sig1=:é:", "sig1=::", "sig1=(:AAAA:)", good["signature"] + ";a", ":" * 2000, "sig1=:" + "A" * 8000 + ":"]:
    own(f"hostile Signature {value[:40]!r}", {**good, "signature": value}, "*")

def write(name, key, rows):
    with open(name, "w") as file:
        file.write(f'{{"{key}": [\n' + ",\n".join("  " + json.dumps(row, ensure_ascii=True) for row in rows) + "\n]}\n")


write("rfc9421.json", "cases", CASES)
slug = {"scheme": "http-message-signatures", "secrets": [b64(KEY)], "body": BODY, "method": "POST", "url": URL, "now_unix_s": NOW, "error": None}
write("message-signatures.json", "vectors", [
    {**slug, "name": "computed", "headers": list(good.items()), "signed_as": "k-1"},
    {**slug, "name": "computed, with a keyid", "headers": list(signed(params=keyid("a")).items())},
])
