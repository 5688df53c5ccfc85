"""Checks the token of a login at Amazon MSK by IAM, in two ways: by its signature, computed here from the secret, and
by the token that AWS's own signer makes for the same time and credentials.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.credentials import Credentials

REGION, SESSION_TOKEN = "eu-west-1", "session+token/="
CLIENT = "&User-Agent="


def check(message, key_id, secret):
    """Raises ValueError unless the message of OAUTHBEARER has the token of these credentials."""
    token = message.removeprefix(b"n,,\x01auth=Bearer ").removesuffix(b"\x01\x01")
    url = base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4)).decode()
    signed, client = url.split(CLIENT)
    if token.endswith(b"=") or not client:
        raise ValueError("the token is padded or has no client")
    parts = urlsplit(signed)
    query = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}
    signature, date = query.pop("X-Amz-Signature"), query["X-Amz-Date"]
    if signature != expected(query, parts.netloc, date, secret):
        raise ValueError("the signature is wrong")
    if signed != of_aws(datetime.strptime(date, "%Y%m%dT%H%M%SZ"), key_id, secret):
        raise ValueError("AWS's signer makes another token")


def expected(query, host, date, secret):
    canonical = "&".join(f"{name}={quote(query[name], safe='')}" for name in sorted(query))
    request = f"GET\n/\n{canonical}\nhost:{host}\n\nhost\n{hashlib.sha256().hexdigest()}"
    scope = f"{date[:8]}/{REGION}/kafka-cluster/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + secret.encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def of_aws(time, key_id, secret):
    credentials = mock.Mock(return_value=Credentials(key_id, secret, SESSION_TOKEN))
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=time),
        mock.patch.object(MSKAuthTokenProvider, "__load_default_credentials__", credentials),
    ):
        token, _ = MSKAuthTokenProvider.generate_auth_token(REGION)
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split(CLIENT)[0]
