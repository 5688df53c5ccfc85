#!/usr/bin/env python3
"""Computes the vectors of providers that publish none: tests/vectors/webhook/computed.json.

Each is signed here with Python's hmac, or with openssl, by the text that the provider documents, and without the crate
that verifies it. Run it again after a change; the keys of the public-key schemes are new each time.
"""

import base64, hashlib, hmac, json, os, subprocess, tempfile

NOW = 1_700_000_000
BODY = '{"id":"evt_1","type":"invoice.paid","event":"paid","event_id":"e-1","note":"Grüße"}'
VECTORS = []


def mac(key, text, digest="sha256"):
    return hmac.new(key.encode() if isinstance(key, str) else key, text.encode(), digest).digest()


def b64(value):
    return base64.b64encode(value).decode()


def b64url(value):
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def add(scheme, secrets, headers, body=BODY, **more):
    VECTORS.append({"scheme": scheme, "name": "computed", "secrets": secrets, "headers": list(headers.items()),
                    "body": body, "now_unix_s": NOW, "error": None, **more})


# Standard Webhooks and its users: `id.timestamp.body`, key in base64 after whsec_.
raw = bytes(range(32))
standard = "whsec_" + b64(raw)
for slug, prefix, secret, key in [
    *((slug, "svix-", standard, raw) for slug in
      "svix clerk resend stytch vanta beehiiv guesty lithic pleo sardine safebase nash".split()),
    *((slug, "webhook-", standard, raw) for slug in
      "anthropic replicate render recall incident-io etsy gemini gitlab".split()),
    ("supabase-auth", "webhook-", "v1," + standard, raw),
    ("brex", "webhook-", b64(raw), raw),
    ("polar", "webhook-", "polar_whs_abc", b"polar_whs_abc"),
    ("openai", "webhook-", "a secret without its prefix", b"a secret without its prefix"),
]:
    add(slug, [secret], {prefix + "id": "msg_1", prefix + "timestamp": str(NOW),
                         prefix + "signature": "v1," + b64(mac(key, f"msg_1.{NOW}.{BODY}"))})

# HMAC-SHA256 of the body.
KEY = "a signing secret"
digest = mac(KEY, BODY)
for slug, header, value in [
    ("bitbucket", "x-hub-signature", "sha256=" + digest.hex()),
    ("shopify", "x-shopify-hmac-sha256", b64(digest)),
    ("shopify-events", "shopify-hmac-sha256", b64(digest)),
    ("dropbox", "x-dropbox-signature", digest.hex()),
    ("pagerduty", "x-pagerduty-signature", "v1=" + "0" * 64 + ",v1=" + digest.hex()),
    ("intercom", "x-hub-signature", "sha1=" + mac(KEY, BODY, "sha1").hex()),
    ("meta", "x-hub-signature-256", "sha256=" + digest.hex()),
    ("x", "x-twitter-webhooks-signature", "sha256=" + b64(digest)),
    ("asana", "x-hook-signature", digest.hex()),
    ("docusign", "x-docusign-signature-2", b64(digest)),
    ("typeform", "typeform-signature", "sha256=" + b64(digest)),
    ("sentry", "sentry-hook-signature", digest.hex()),
    ("vercel", "x-vercel-signature", mac(KEY, BODY, "sha1").hex()),
    ("notion", "x-notion-signature", "sha256=" + digest.hex()),
]:
    headers = {header: value}
    if slug == "docusign":
        headers = {"x-docusign-signature-1": b64(mac("an older secret", BODY)), **headers}
    add(slug, [KEY], headers)

# With a timestamp.
stripe = mac("whsec_test_secret", f"{NOW}." + '{"id":"evt_test"}').hex()
assert stripe == "13941114bb88ac44a76abcfddea5b92aa6182a4b63d8be3aae908a616083bd7e"
add("stripe", ["whsec_test_secret"], {"stripe-signature": f"t={NOW},v1={stripe},v0=ignored"}, '{"id":"evt_test"}')
dot = mac(KEY, f"{NOW}.{BODY}").hex()
add("calendly", [KEY], {"calendly-webhook-signature": f"t={NOW},v1={dot}"})
add("elevenlabs", [KEY], {"elevenlabs-signature": f"t={NOW},v0={dot}"})
add("workos", [KEY], {"workos-signature": f"t={NOW}000, v1={mac(KEY, f'{NOW}000.{BODY}').hex()}"})
add("zoom", [KEY], {"x-zm-request-timestamp": str(NOW), "x-zm-signature": "v0=" + mac(KEY, f"v0:{NOW}:{BODY}").hex()})
iso = "2023-11-14T22:13:20Z"
add("zendesk", [KEY], {"x-zendesk-webhook-signature-timestamp": iso,
                       "x-zendesk-webhook-signature": b64(mac(KEY, iso + BODY))})
nanos = "2023-11-14T22:13:20.123456789Z"
add("twitch", [KEY], {"twitch-eventsub-message-id": "m.1", "twitch-eventsub-message-timestamp": nanos,
                      "twitch-eventsub-message-signature": "sha256=" + mac(KEY, "m.1" + nanos + BODY).hex()})
linear = json.dumps({"type": "Issue", "action": "create", "webhookTimestamp": NOW * 1000})
add("linear", [KEY], {"linear-signature": mac(KEY, linear).hex()}, linear)

# With the URL.
url = "https://api.example.com/webhooks/hubspot?a=1"
add("hubspot", [KEY], {"x-hubspot-request-timestamp": f"{NOW}000",
                       "x-hubspot-signature-v3": b64(mac(KEY, f"POST{url}{BODY}{NOW}000"))}, method="POST", url=url)
url = "https://api.example.com/webhooks/twilio?bodySHA256=" + hashlib.sha256(BODY.encode()).hexdigest()
add("twilio", ["12345"], {"content-type": "application/json", "x-twilio-signature": b64(mac("12345", url, "sha1"))},
    url=url)
key64 = "k" * 64
listed = {"x-contentful-signed-headers": "X-Contentful-Timestamp, x-contentful-signed-headers,x-contentful-topic",
          "x-contentful-timestamp": f"{NOW}000", "x-contentful-topic": "ContentManagement.Entry.publish"}
canonical = ";".join(f"{name}:{listed[name]}" for name in sorted(listed))
# The query is encoded as a component, and then with the path as a URI.
text = f"POST\n/webhooks/contentful?a%253D1\n{canonical}\n{BODY}"
add("contentful", [key64], {**listed, "x-contentful-signature": mac(key64, text).hex()},
    url="https://api.example.com/webhooks/contentful?a=1")

url = "https://api.example.com/webhooks/trello?a=1"
add("trello", [KEY], {"x-trello-webhook": b64(mac(KEY, BODY + url, "sha1"))}, url=url)
url = "https://api.example.com/webhooks/mandrill"
add("mandrill", [KEY], {"content-type": "application/x-www-form-urlencoded",
                        "x-mandrill-signature": b64(mac(KEY, url + "aba b" + 'mandrill_events[{"a":1}]', "sha1"))},
    "mandrill_events=%5B%7B%22a%22%3A1%7D%5D&ab=a+b", url=url)

# The key is base64.
add("teams", [b64(raw)], {"authorization": "HMAC " + b64(mac(raw, BODY))})

# In the body.
signature = {"timestamp": str(NOW), "token": "t" * 50, "signature": mac(KEY, str(NOW) + "t" * 50).hex()}
add("mailgun", [KEY], {}, json.dumps({"signature": signature, "event-data": {"event": "opened", "id": "e-1"}}))

# JSON Web Tokens with a hash of the body.
def token(claims):
    segments = b64url(b'{"alg":"HS256","typ":"JWT"}') + "." + b64url(json.dumps(claims).encode())
    return segments + "." + b64url(mac(KEY, segments))


hashed = hashlib.sha256(BODY.encode())
add("netlify", [KEY], {"x-webhook-signature": token({"iss": "netlify", "sha256": hashed.hexdigest()})})
add("livekit", [KEY], {"authorization": token({"iss": "key", "nbf": NOW, "exp": NOW + 300, "sha256": b64(hashed.digest())})})

# The secret itself.
add("gitlab-token", [KEY], {"x-gitlab-token": KEY})
add("okta", [KEY], {"authorization": KEY})
add("telegram", [KEY], {"x-telegram-bot-api-secret-token": KEY})
for slug in ["cloudevents", "event-grid"]:
    add(slug, [KEY], {"authorization": "Bearer " + KEY})
add("msgraph", [KEY], {}, json.dumps({"value": [{"clientState": KEY, "changeType": "created"}, {"clientState": KEY}]}))
add("postmark", [b64(b"user:pass")], {"authorization": "Basic " + b64(b"user:pass")})

# Ed25519.
with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True).stdout
    run("genpkey", "-algorithm", "ed25519", "-out", path("key"))
    public = run("pkey", "-in", path("key"), "-pubout", "-outform", "DER")[-32:]

    def ed25519(text):
        with open(path("text"), "wb") as file:
            file.write(text.encode())
        return run("pkeyutl", "-sign", "-inkey", path("key"), "-rawin", "-in", path("text"))

    for slug in ["discord", "discord-events"]:
        add(slug, [public.hex()], {"x-signature-timestamp": str(NOW),
                                   "x-signature-ed25519": ed25519(str(NOW) + BODY).hex()})
    add("telnyx", [b64(public)], {"telnyx-timestamp": str(NOW),
                                  "telnyx-signature-ed25519": b64(ed25519(f"{NOW}|{BODY}"))})

VECTORS.sort(key=lambda vector: vector["scheme"])
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "computed.json")
with open(path, "w", encoding="utf-8") as file:
    lines = ",\n  ".join(json.dumps(vector) for vector in VECTORS)
    file.write(f'{{"vectors": [\n  {lines}\n]}}\n')
