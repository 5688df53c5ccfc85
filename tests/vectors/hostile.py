#!/usr/bin/env python3
"""Writes hostile-requests.json: requests to the shipped contract that must be refused, each with its status and code.

    python3 tests/vectors/hostile.py
"""
import base64
import json
import pathlib

CASES = []
ORDER = '{"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": 2}]}'
HEADERS = {"x-api-key": "writer", "content-type": "application/json", "idempotency-key": "k-1"}


def add(name, status, code, body=ORDER, path="/orders", method="POST", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in {**HEADERS, **headers}.items() if value is not None}
    body = body.encode() if isinstance(body, str) else body
    case = {"name": name, "status": status, "code": code, "method": method, "path": path, "headers": sent}
    # A long body is a short text many times.
    if len(body) > 2_000 and len(set(body[1_000:-1_000])) == 1:
        case["repeat"] = len(body) - 2_000
        body = body[:1_000] + body[1_000:1_001] + body[-1_000:]
    CASES.append({**case, "body": base64.b64encode(body).decode()})


# ---- not JSON ------------------------------------------------------------------------------------------------------------
for name, body in {
    "an open object": "{", "an open array": "[", "an open string": '{"a": "', "a comma at the end": '{"a": 1,}',
    "a comma at the start": "{,}", "two commas": "[1,,2]", "single quotes": "{'a': 1}", "a bare member": "{a: 1}",
    "a comment": "{} // more", "a block comment": "/* a */ {}", "two documents": "{} {}", "text after it": ORDER + "x",
    "NaN": '{"a": NaN}', "Infinity": '{"a": Infinity}', "-Infinity": "[-Infinity]", "undefined": '{"a": undefined}',
    "a plus sign": "[+1]", "a leading zero": "[01]", "a leading point": "[.5]", "a point at the end": "[1.]",
    "an exponent without digits": "[1e]", "hexadecimal": "[0x1]", "True": "[True]", "a byte order mark": "\ufeff" + ORDER,
    "a control character in a string": '{"a": "\x01"}', "a line end in a string": '{"a": "\n"}', "a tab in a string": '{"a": "\t"}',
    "a null byte": "\0", "a null byte after it": ORDER + "\0", "an unknown escape": r'{"a": "\x41"}', "a short escape": r'{"a": "\u12"}',
    "half a surrogate pair": r'{"a": "\ud800"}', "the other half": r'{"a": "\udc00"}', "halves in the wrong order": r'{"a": "\udc00\ud800"}',
    "128 arrays": "[" * 128 + "]" * 128, "129 objects": '{"a":' * 129 + "1" + "}" * 129, "100,000 arrays": "[" * 100_000,
    "only white space": " \n\t ", "a form": "order_id=o-1&customer_id=c-1", "XML": "<order/>", "a number too large": '{"a": 1e999}',
    "a vertical tab between": "[1,\v2]", "a no-break space between": "[1,\u00a02]", "a colon too much": '{"a":: 1}',
    "a missing colon": '{"a" 1}', "a number as a name": "{1: 1}", "a closing brace too much": ORDER + "}", "brackets that cross": '{"a": [1}]',
}.items():
    add(f"not JSON: {name}", 400, "json_invalid", body)
for name, body in {
    "ISO 8859-1": b'{"note": "caf\xe9"}', "a cut character": b'{"note": "\xe2\x82"}', "an overlong slash": b'{"note": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"note": "\xed\xa0\x80"}', "beyond Unicode": b'{"note": "\xf4\x90\x80\x80"}', "UTF-16": ORDER.encode("utf-16"),
    "UTF-16 without a mark": ORDER.encode("utf-16-le"), "UTF-32": ORDER.encode("utf-32-be"), "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "an image": b"\x89PNG\r\n\x1a\n", "0xFF": b"\xff" * 50, "a bare continuation": b'"\x80"',
}.items():
    add(f"not UTF-8: {name}", 400, "json_invalid", body)

# ---- a member twice --------------------------------------------------------------------------------------------------------
for name, body in {
    "at the top": ORDER[:-1] + ', "order_id": "o-2"}', "escaped": ORDER[:-1] + r', "\u006frder_id": "o-2"}',
    "in an item": ORDER.replace('"quantity": 2', '"quantity": 2, "quantity": 3'), "with the same value": ORDER[:-1] + ', "order_id": "o-1"}',
    "the list": ORDER[:-1] + ', "items": []}', "unknown to the schema": ORDER[:-1] + ', "x": 1, "x": 1}',
    "an empty name": ORDER[:-1] + ', "": 1, "": 1}', "deep below": ORDER[:-1] + ', "x": [{"y": {"z": 1, "z": 2}}]}',
    "a long name": ORDER[:-1] + f', "{"n" * 5000}": 1, "{"n" * 5000}": 1}}',
    "__proto__": ORDER[:-1] + ', "__proto__": {}, "__proto__": {}}',
}.items():
    add(f"a member twice: {name}", 400, "json_invalid", body)

# ---- against the schema ------------------------------------------------------------------------------------------------------
for name, body in {
    "null": "null", "true": "true", "a number": "1", "a string": '"x"', "an array": "[]", "an array of orders": f"[{ORDER}]", "empty": "{}",
    "127 arrays": "[" * 127 + "]" * 127,
    "__proto__": ORDER[:-1] + ', "__proto__": {"admin": true}}', "constructor": ORDER[:-1] + ', "constructor": {}}',
    "$ref": ORDER[:-1] + ', "$ref": "file:///etc/passwd"}', "a name of 100,000": ORDER[:-1] + ', "' + "n" * 100_000 + '": 1}',
    "5,000 unknown names": ORDER[:-1] + "".join(f', "n{n}": 1' for n in range(5_000)) + "}",
    "control characters in names": ORDER[:-1] + "".join(r', "\u0001%d": 1' % n for n in range(300)) + "}",
    "1,001 items": ORDER.replace('{"sku": "tea", "quantity": 2}', ",".join(['{"sku":"t","quantity":1}'] * 1_001)),
    "no items": ORDER.replace('[{"sku": "tea", "quantity": 2}]', "[]"), "items as an object": ORDER.replace('[{"sku": "tea", "quantity": 2}]', "{}"),
    "an item that is null": ORDER.replace('{"sku": "tea", "quantity": 2}', "null"), "an item that is a list": ORDER.replace('{"sku": "tea", "quantity": 2}', "[]"),
    "an unknown member of an item": ORDER.replace('"quantity": 2', '"quantity": 2, "price": 0'), "an empty sku": ORDER.replace('"tea"', '""'),
    "a sku of 65": ORDER.replace('"tea"', '"' + "é" * 65 + '"'), "a note of 2,001": ORDER[:-1] + ', "note": "' + "n" * 2_001 + '"}',
    "a note that is null": ORDER[:-1] + ', "note": null}', "a note that is a list": ORDER[:-1] + ', "note": ["a"]}',
}.items():
    add(f"schema: {name}", 422, "schema_violated", body)
for name in ("order_id", "customer_id"):
    value = {"order_id": '"o-1"', "customer_id": '"c-1"'}[name]
    for text, wrong in {
        "missing": None, "null": "null", "a number": "1", "an object": "{}", "a list": '["a"]', "empty": '""', "too long": '"' + "x" * 65 + '"',
        "a line end": r'"a\n"', "a line end at the start": r'"\nx"', "a null character": r'"\u0000"', "an escape character": r'"\u001b[31m"',
        "DEL": '"\x7f"', "not ASCII": '"é"', "a line separator": '"\u2028"', "right to left": '"\u202etxt"', "a noncharacter": r'"\uffff"',
        "an emoji": '"😀"', "a no-break space": '"\u00a0"',
    }.items():
        changed = ORDER.replace(f'"{name}": {value}, ', "") if wrong is None else ORDER.replace(f'"{name}": {value}', f'"{name}": {wrong}')
        add(f"schema: {name} {text}", 422, "schema_violated", changed)
for value in ("0", "-1", "1000001", "1.5", "1e7", "1e300", "-0", "0.0", '"2"', "true", "null", "[]", "{}", "9223372036854775808", "18446744073709551616",
              "4294967296", "2147483648", "123456789012345678901234567890", "1e-1"):
    add(f"schema: a quantity of {value}", 422, "schema_violated", ORDER.replace('"quantity": 2', f'"quantity": {value}'))

# ---- media types and codings -----------------------------------------------------------------------------------------------
for value in (None, "", "text/plain", "text/json", "application/jsonx", "application/json+xml", "application/ld+json", "application/*", "*/*",
              "json", "application", "application/json/x", "application/json, text/plain", "text/plain; application/json", "application /json",
              "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/cloudevents+json",
              "application/json; charset=utf-16", "application/json; charset=iso-8859-1", "application/json;charset=\"utf-7\"",
              "application/json; a=\";\"; charset=latin1", ";charset=utf-8", "application/json\u00e9"):
    add(f"media type: {value}", 415, "media_type_unsupported", content_type=value)
for value in ("gzip", "br", "zstd", "deflate", "compress", "x-gzip", "GZIP", "identity, gzip", "gzip, gzip", "gzip;q=1", "aes128gcm", "*", "utf-8"):
    add(f"content coding: {value}", 415, "content_encoding_unsupported", content_encoding=value)

# ---- the idempotency key -----------------------------------------------------------------------------------------------------
for value in (None, "", " ", '""', '"', '"a', 'a,b', '"a", "b"', '"a"b', '"a\\b"', '"a";p=1', "k" * 256, '"' + "k" * 256 + '"', "a\tb", "ключ",
              "é", "\u007f", '"\t"', ",", "a,", '"\\"', '"a" "b"', "😀"):
    add(f"idempotency key: {value if value is None or len(value) < 99 else 'of 256'}", 400, "idempotency_key_invalid", idempotency_key=value)

# ---- credentials -------------------------------------------------------------------------------------------------------------
add("credentials: none", 401, "credentials_missing", x_api_key=None)
for value in ("guess", "Writer", "writer ", "writer,writer", "writer, old", "*", "' or 1=1", "writer\u00a0", "../writer", "${secret}", "%77riter",
              "w" * 4_000, "é", "null", "undefined", "Bearer writer", "0", "{}"):
    if value != "writer ":
        add(f"credentials: {value if len(value) < 99 else '4,000 characters'}", 401, "credentials_invalid", x_api_key=value)
add("credentials: in another header", 401, "credentials_missing", x_api_key=None, authorization="writer")
add("credentials: before the body", 401, "credentials_invalid", "{", x_api_key="guess")
add("credentials: before the media type", 401, "credentials_invalid", x_api_key="guess", content_type="text/plain")
add("credentials: without the scope", 403, "scope_missing", x_api_key="reader")
add("credentials: without the scope, not JSON", 403, "scope_missing", "{", x_api_key="reader")

# ---- routes ------------------------------------------------------------------------------------------------------------------
for path in ("/", "/order", "/orders/", "/orders/1", "//orders", "/Orders", "/ORDERS", "/orders.json", "/webhooks", "/webhooks/", "/webhooks/gitlab", "/.env",
             "/admin", "/openapi.yaml", "/orders;a=1", "/wp-login.php", "/" + "a" * 4_000):
    add(f"path: {path if len(path) < 99 else '4,001 characters'}", 404, "route_unknown", path=path)
for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "POSTED"):
    add(f"method: {method}", 405, "" if method == "HEAD" else "method_not_allowed", method=method)
for method in ("POST", "PUT", "DELETE", "PATCH"):
    add(f"method: {method} of the document", 405, "method_not_allowed", path="/openapi.json", method=method)

# ---- size ----------------------------------------------------------------------------------------------------------------------
add("size: 262,145 bytes", 413, "payload_too_large", "x" * 262_145)
add("size: before credentials", 413, "payload_too_large", "x" * 262_145, x_api_key=None)
add("size: no body", 400, "body_missing", "")

# ---- signatures ----------------------------------------------------------------------------------------------------------------
GITHUB = {"path": "/webhooks/github", "x_github_event": "push", "x_github_delivery": "d-1", "body": "Hello, World!"}
RIGHT = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
add("signature: none", 401, "credentials_missing", **GITHUB)
for name, value in {
    "wrong": "sha256=" + RIGHT[:-1] + "8", "without its name": RIGHT, "of SHA-1": "sha1=" + RIGHT[:40], "cut": "sha256=" + RIGHT[:-2], "longer": "sha256=" + RIGHT + "00",
    "empty": "", "only its name": "sha256=", "not hexadecimal": "sha256=" + "z" * 64, "twice": f"sha256={RIGHT},sha256={RIGHT}", "in base64": "sha256=dXEH6g6yUJ/CESIc",
    "with a space": "sha256= " + RIGHT,
}.items():
    add(f"signature: {name}", 401, "credentials_invalid", x_hub_signature_256=value, **GITHUB)
add("signature: of another body", 401, "credentials_invalid", x_hub_signature_256="sha256=" + RIGHT, **{**GITHUB, "body": "Hello, World?"})
add("signature: right, not JSON", 400, "json_invalid", x_hub_signature_256="sha256=" + RIGHT, **GITHUB)
for value in (None, "", "Push", "push/x", "a" * 65, "push\u00e9", "push push"):
    add(f"signature: right, the event {value if value is None or len(value) < 60 else 'of 65'}", 400, "parameter_invalid", x_hub_signature_256="sha256=" + RIGHT,
        **{**GITHUB, "x_github_event": value})

out = pathlib.Path(__file__).with_name("hostile-requests.json")
out.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in CASES) + "\n]\n")
print(len(CASES), "requests,", out.stat().st_size, "bytes")
