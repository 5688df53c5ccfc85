"""Signs and verifies webhooks with the providers' Python SDKs, over standard input and output as sdks.mjs does."""
import json
import sys
from datetime import datetime, timezone
from types import SimpleNamespace

import standardwebhooks
from paddle_billing.Notifications import PaddleSignature, Secret, Verifier
from slack_sdk.signature import SignatureVerifier


def paddle_sign(request):
    text = f"{request['at']}:{request['body']}".encode()
    signature = PaddleSignature.calculate_hmac(request["secret"], text).hexdigest()
    return {"paddle-signature": f"ts={request['at']};h1={signature}"}


def paddle_verify(request):
    headers = {"Paddle-Signature": request["headers"]["paddle-signature"]}
    received = SimpleNamespace(headers=headers, body=request["body"].encode())
    return Verifier().verify(received, Secret(request["secret"]))


def slack_sign(request):
    verifier = SignatureVerifier(request["secret"])
    at = str(request["at"])
    signature = verifier.generate_signature(timestamp=at, body=request["body"])
    return {"x-slack-request-timestamp": at, "x-slack-signature": signature}


def slack_verify(request):
    return SignatureVerifier(request["secret"]).is_valid_request(request["body"], request["headers"])


def standard_sign(request):
    at = datetime.fromtimestamp(request["at"], timezone.utc)
    signature = standardwebhooks.Webhook(request["secret"]).sign(request["id"], at, request["body"])
    return {"webhook-id": request["id"], "webhook-timestamp": str(request["at"]), "webhook-signature": signature}


def standard_verify(request):
    standardwebhooks.Webhook(request["secret"]).verify(request["body"], request["headers"])
    return True


PEERS = {
    "paddle": (paddle_sign, paddle_verify),
    "slack": (slack_sign, slack_verify),
    "standard-webhooks": (standard_sign, standard_verify),
}


def answer(request):
    sign, verify = PEERS[request["peer"]]
    if request["does"] == "secret":
        return {"secret": request["secret"]}
    if request["does"] == "sign":
        return {"headers": sign(request)}
    try:
        return {"valid": verify(request)}
    except Exception as error:  # Each SDK has its own errors.
        return {"valid": False, "reason": repr(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
