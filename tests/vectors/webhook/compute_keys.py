#!/usr/bin/env python3
"""Makes the vectors with published keys that no provider publishes: tokens.json, rsa.json and certificate-files.json.

Keys, certificates and signatures are those of openssl, without the crate that verifies them. Run it again after a
change; the keys are new each time.
"""

import base64, hashlib, json, os, subprocess, tempfile

NOW = 1_900_000_000
BODY = '{"id":"evt_1","message":{"messageId":"m-1"},"webhook_type":"ITEM","webhook_code":"ERROR","note":"Grüße"}'
HERE = os.path.dirname(os.path.abspath(__file__))
SUBJECT = "sns.amazonaws.com"


def b64url(value):
    value = value.encode() if isinstance(value, str) else value
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def write(name, value, key):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        file.write(f'{{"{key}": [\n  ' + ",\n  ".join(json.dumps(one) for one in value) + "\n]}\n")


with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    def save(name, data):
        with open(path(name), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        return path(name)

    def sign(key, text, *options, digest="sha256"):
        return run("dgst", "-" + digest, "-sign", path(key), *options, save("text", text))

    run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path("rsa"))
    run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", path("rsa-short"))
    run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path("ec"))

    # Tokens.
    def rsa_jwk(key, kid):
        modulus = run("rsa", "-in", path(key), "-noout", "-modulus").decode().strip().split("=")[1]
        return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64url(bytes.fromhex(modulus)), "e": "AQAB"}

    point = run("pkey", "-in", path("ec"), "-pubout", "-outform", "DER")[-64:]
    ec_jwk = {"kty": "EC", "kid": "ec-1", "use": "sig", "alg": "ES256", "crv": "P-256",
              "x": b64url(point[:32]), "y": b64url(point[32:])}

    def es256(text):
        der, numbers = sign("ec", text), []
        at = 2
        for _ in range(2):
            length = der[at + 1]
            numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big"))
            at += 2 + length
        return b"".join(numbers)

    def token(alg, kid, claims):
        text = b64url(json.dumps({"alg": alg, "kid": kid, "typ": "JWT"})) + "." + b64url(json.dumps(claims))
        return text + "." + b64url(es256(text) if alg == "ES256" else sign("rsa", text))

    vectors = []

    def add(scheme, name, secrets, headers, error=None, **more):
        vectors.append({"scheme": scheme, "name": name, "secrets": secrets, "headers": headers, "body": BODY,
                        "now_unix_s": NOW, "error": error, **more})

    body_hash = hashlib.sha256(BODY.encode())
    plaid = {"iat": NOW - 10, "request_body_sha256": body_hash.hexdigest()}
    for name, claims, error in [
        ("computed", plaid, None),
        ("without iat", {k: v for k, v in plaid.items() if k != "iat"}, "the claim iat of the token is missing"),
        ("of another body", {**plaid, "request_body_sha256": "00" * 32}, "the token is for another body"),
    ]:
        add("plaid", name, [json.dumps(ec_jwk)], [["plaid-verification", token("ES256", "ec-1", claims)]], error)

    email, audience = "push@project.iam.gserviceaccount.com", "https://api.example.com/webhooks/pubsub"
    google = {"iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": True,
              "iat": NOW - 10, "exp": NOW + 3590}
    keys = json.dumps({"keys": [{"kty": "oct", "k": "AA"}, {**rsa_jwk("rsa", "rsa-1"), "use": "enc"},
                                rsa_jwk("rsa-short", "rsa-1"), ec_jwk, rsa_jwk("rsa", "rsa-1")]})
    differs = "the token has a claim with another value than the scheme"
    for name, claims, kid, error in [
        ("computed", google, "rsa-1", None),
        ("iss without https", {**google, "iss": "accounts.google.com"}, "rsa-1", None),
        ("several audiences", {**google, "aud": ["other", audience]}, "rsa-1", None),
        ("another issuer", {**google, "iss": "https://accounts.google.com.evil.com"}, "rsa-1", differs),
        ("another audience", {**google, "aud": audience + "/"}, "rsa-1", differs),
        ("an e-mail that is not verified", {**google, "email_verified": False}, "rsa-1", differs),
        ("another service account", {**google, "email": "other@project.iam.gserviceaccount.com"}, "rsa-1",
         "no signature matches"),
        ("expired", {**google, "exp": NOW - 61}, "rsa-1", "the token has expired"),
        ("without exp", {k: v for k, v in google.items() if k != "exp"}, "rsa-1", "the token has expired"),
        ("an unknown key", google, "rsa-2", "the key at https://www.googleapis.com/oauth2/v3/certs is needed"),
        ("a key of another kind", google, "ec-1", "no signature matches"),
    ]:
        headers = [["authorization", "Bearer " + token("RS256", kid, claims)]]
        add("google-pubsub", name, ["old@project.iam.gserviceaccount.com", email], headers, error, key=keys,
            audience=[audience], **({} if error else {"secret": 1}))

    text = b64url('{"alg":"HS256","kid":"k","typ":"JWT"}') + "." + b64url(json.dumps(
        {"iat": NOW, "request_body_sha256": base64.b64encode(body_hash.digest()).decode()}))
    import hmac
    mac = hmac.new(b"a FusionAuth HMAC key", text.encode(), "sha256").digest()
    add("fusionauth", "computed", ["a FusionAuth HMAC key"], [["x-fusionauth-signature-jwt", text + "." + b64url(mac)]])
    write("tokens.json", vectors, "vectors")

    # RSA signatures of one text.
    public = run("pkey", "-in", path("rsa"), "-pubout").decode()
    short = run("pkey", "-in", path("rsa-short"), "-pubout").decode()
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:64"]
    b64 = lambda value: base64.b64encode(value).decode()
    write("rsa.json", [
        {"algorithm": "rsa-pkcs1-sha256", "key": public, "body": BODY, "signature": b64(sign("rsa", BODY)), "valid": True},
        {"algorithm": "rsa-pss-sha512", "key": public, "body": BODY,
         "signature": b64(sign("rsa", BODY, *pss, digest="sha512")), "valid": True},
        {"algorithm": "rsa-pkcs1-sha256", "key": public, "body": BODY, "valid": False,
         "signature": b64(sign("rsa", BODY, digest="sha1"))},
        {"algorithm": "rsa-pss-sha512", "key": public, "body": BODY, "valid": False,
         "signature": b64(sign("rsa", BODY, digest="sha512"))},
        {"algorithm": "rsa-pkcs1-sha256", "key": short, "body": BODY, "valid": False,
         "signature": b64(sign("rsa-short", BODY))},
    ], "vectors")

    # Files in place of the certificate of SNS.
    for ca in ["root", "other-root"]:
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path(ca + ".key"), "-out", path(ca),
            "-subj", f"/CN={ca}", "-days", "9000", "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(name, issuer, subject, extensions, key=None):
        if key is None:
            key = name + ".key"
            run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path(key))
        run("req", "-new", "-key", path(key), "-subj", f"/CN={subject}", "-out", path("request"))
        run("x509", "-req", "-in", path("request"), "-CA", path(issuer), "-CAkey", path(issuer + ".key"),
            "-days", "9000", "-out", path(name), "-extfile", save("extensions", extensions))
        with open(path(name)) as file:
            return file.read()

    leaf = lambda name: f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
    intermediate = issue("intermediate", "root", "intermediate", "basicConstraints=critical,CA:TRUE\n")
    good = issue("good", "intermediate", SUBJECT, leaf(SUBJECT))
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path("self.key"), "-out", path("self"), "-subj",
        f"/CN={SUBJECT}", "-days", "9000", "-addext", f"subjectAltName=DNS:{SUBJECT}")
    self_signed = open(path("self")).read()
    files = []

    def file(name, pem, error, now=NOW):
        files.append({"name": name, "file": pem, "root": open(path("root")).read(), "now_unix_s": now, "error": error})

    subjects = f"the certificate is not for {SUBJECT} or sns-signing.us-west-2.amazonaws.com"
    damaged = "the file is not a certificate in PEM"
    file("a leaf alone", good, None)
    file("a leaf with its chain", good + intermediate, None)
    file("a certificate of an opt-in Region", issue("region", "intermediate", "x",
         leaf("sns-signing.us-west-2.amazonaws.com")), None)
    file("a P-256 key", issue("p256", "intermediate", SUBJECT, leaf(SUBJECT), key="ec"), None)
    file("a certificate of another Region", issue("other-region", "intermediate", "x",
         leaf("sns-signing.us-east-1.amazonaws.com")), subjects)
    file("another name", issue("other", "intermediate", SUBJECT, leaf("sns.amazonaws.com.evil.com")), subjects)
    file("a wildcard", issue("wild", "intermediate", SUBJECT, leaf("*.amazonaws.com")), subjects)
    file("a common name alone", issue("common", "intermediate", SUBJECT, "basicConstraints=CA:FALSE\n"), subjects)
    file("self-signed", self_signed, "the certificate is its own issuer")
    file("self-signed with a foreign chain", self_signed + intermediate, "the certificate is its own issuer")
    file("a chain to another root", issue("foreign", "other-root", SUBJECT, leaf(SUBJECT)) + open(path("other-root")).read(),
         "the certificates do not lead to a trusted root")
    file("a chain that is not that of the leaf", good + open(path("other-root")).read(),
         "the certificates do not lead to a trusted root")
    file("a leaf that a leaf issued", issue("deep", "good", "x", leaf(SUBJECT)) + good + intermediate,
         "the certificates do not lead to a trusted root")
    file("expired", good, "the certificate is valid from", NOW * 2)
    file("not valid yet", good, "the certificate is valid from", 1_000_000_000)
    file("no PEM", "<html>", damaged)
    file("nothing", "", damaged)
    file("a private key", open(path("good.key")).read(), damaged)
    file("cut", good[:-200], damaged)
    file("other base64", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", damaged)
    file("too many", good * 10, damaged)
    write("certificate-files.json", files, "files")
