"""Stands before a broker that has no login: encrypts, lets in clients by SCRAM, by a token of AWS or by a certificate,
and forwards what they send.

login.py PORT BROKER_PORT MECHANISM USER PASSWORD LOG [CERTIFICATE KEY [CLIENT_CA]]

MECHANISM is that of SCRAM, OAUTHBEARER for a token of Amazon MSK, whose user is an access key, or NONE. The server's
side of SCRAM is scramp's. A session by a token lasts SESSION_S; then the connection is closed, as KIP-368 says. LOG gets
a line with the number of the connection for each login. The broker's address becomes localhost:PORT in its answers.
"""

import asyncio
import itertools
import ssl
import struct
import sys
import time

import msk_iam
from scramp import ScramException, ScramMechanism

port, broker_port, mechanism, user, password, log, *files = sys.argv[1:]
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
UNSUPPORTED_SASL_MECHANISM, SASL_AUTHENTICATION_FAILED = 33, 58
SESSION_S = 2
connections = itertools.count()


async def frame(reader):
    return await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])


def send(writer, body):
    writer.write(struct.pack(">i", len(body)) + body)


def text(string):
    return struct.pack(">h", len(string)) + string.encode()


def authenticated(error, reason, message, lifetime_ms=0):
    length = struct.pack(">i", len(message))
    return struct.pack(">h", error) + text(reason) + length + message.encode() + struct.pack(">q", lifetime_ms)


class Scram:
    """The server's side of a login by SCRAM."""

    lifetime_s = float("inf")

    def __init__(self):
        scram = ScramMechanism(mechanism)
        stored = scram.make_auth_info(password, iteration_count=8192)
        self.server = scram.make_server(lambda name: {user: stored}[name])

    def answer(self, message):
        """Returns the answer to a message, and whether the client has logged in; None if it is refused."""
        message = message.decode()
        try:
            if message.startswith("n,,"):
                self.server.set_client_first(message)
                return authenticated(0, "", self.server.get_server_first()), False
            self.server.set_client_final(message)
            return authenticated(0, "", self.server.get_server_final()), True
        except (KeyError, ScramException):
            return authenticated(SASL_AUTHENTICATION_FAILED, "Authentication failed", ""), None


class Token:
    """The server's side of OAUTHBEARER: an error is the answer to the token, and the reason that to the client's next."""

    lifetime_s = SESSION_S
    error = None

    def answer(self, message):
        if self.error:
            return authenticated(SASL_AUTHENTICATION_FAILED, self.error, ""), None
        try:
            msk_iam.check(message, user, password)
            return authenticated(0, "", "", self.lifetime_s * 1000), True
        except (KeyError, ValueError) as error:
            self.error = f"Access denied: {error}"
            return authenticated(0, "", '{"status":"invalid_token"}'), False


async def log_in(reader, writer, request):
    """Returns the lifetime of the session, from the first request of a login on; None if the client is not let in."""
    body = request[10 + struct.unpack(">h", request[8:10])[0] :]
    correlation = request[4:8]
    known = body == text(mechanism)
    send(writer, correlation + struct.pack(">hi", 0 if known else UNSUPPORTED_SASL_MECHANISM, 1) + text(mechanism))
    if not known:
        return None
    server = Token() if mechanism == "OAUTHBEARER" else Scram()
    is_in = False
    while is_in is False:
        request = await frame(reader)
        key, _, _, client = struct.unpack(">hhih", request[:10])
        if key != SASL_AUTHENTICATE:
            return None
        answer, is_in = server.answer(request[10 + client + 4 :])
        send(writer, request[4:8] + answer)
    return server.lifetime_s if is_in else None


async def serve(reader, writer):
    number, ends = next(connections), float("inf") if mechanism == "NONE" else None
    try:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", int(broker_port))
        old = text("127.0.0.1") + struct.pack(">i", int(broker_port))
        new = text("localhost") + struct.pack(">i", int(port))
        while True:
            request = await frame(reader)
            key, version = struct.unpack(">hh", request[:4])
            if key == SASL_HANDSHAKE and version == 1 and mechanism != "NONE":
                lifetime = await log_in(reader, writer, request)
                if lifetime is None:
                    return
                ends = time.monotonic() + lifetime
                with open(log, "a") as file:
                    print(number, file=file)
                continue
            if ends is None or time.monotonic() > ends:
                return
            send(to_broker, request)
            answer = await frame(from_broker)
            if key == METADATA:
                answer = answer.replace(old, new)
            send(writer, answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    tls = None
    if files:
        certificate, key, *client_ca = files
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The certificates of the tests have no key identifiers, which Python 3.13 asks for.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        tls.load_cert_chain(certificate, key)
        if client_ca:
            tls.load_verify_locations(*client_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
    async with await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=tls) as server:
        await server.serve_forever()


asyncio.run(main())
