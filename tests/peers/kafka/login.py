"""Stands before a broker that has no login: encrypts, lets in users by SCRAM, and forwards what they send.

login.py PORT BROKER_PORT MECHANISM USER PASSWORD [CERTIFICATE KEY]

The server's side of SCRAM is scramp's. The broker's address becomes localhost:PORT in its answers.
"""

import asyncio
import ssl
import struct
import sys

from scramp import ScramException, ScramMechanism

port, broker_port, mechanism, user, password, *files = sys.argv[1:]
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
UNSUPPORTED_SASL_MECHANISM, SASL_AUTHENTICATION_FAILED = 33, 58
scram = ScramMechanism(mechanism)
stored = scram.make_auth_info(password, iteration_count=8192)


async def frame(reader):
    return await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])


def send(writer, body):
    writer.write(struct.pack(">i", len(body)) + body)


def text(string):
    return struct.pack(">h", len(string)) + string.encode()


def authenticated(error, reason, message):
    return struct.pack(">h", error) + text(reason) + struct.pack(">i", len(message)) + message.encode() + struct.pack(">q", 0)


async def log_in(reader, writer):
    """Returns whether the client has logged in."""
    server = None
    while True:
        request = await frame(reader)
        key, version, correlation, client = struct.unpack(">hhih", request[:10])
        body = request[10 + client :]
        if key == SASL_HANDSHAKE and version == 1:
            known = body == text(mechanism)
            error = 0 if known else UNSUPPORTED_SASL_MECHANISM
            send(writer, struct.pack(">ihi", correlation, error, 1) + text(mechanism))
            if not known:
                return False
            server = scram.make_server(lambda name: {user: stored}[name])
        elif key == SASL_AUTHENTICATE and version == 1 and server:
            message = body[4:].decode()
            try:
                if message.startswith("n,,"):
                    server.set_client_first(message)
                    send(writer, struct.pack(">i", correlation) + authenticated(0, "", server.get_server_first()))
                else:
                    server.set_client_final(message)
                    send(writer, struct.pack(">i", correlation) + authenticated(0, "", server.get_server_final()))
                    return True
            except (KeyError, ScramException):
                failed = authenticated(SASL_AUTHENTICATION_FAILED, "Authentication failed", "")
                send(writer, struct.pack(">i", correlation) + failed)
                return False
        else:
            return False


async def serve(reader, writer):
    try:
        if await log_in(reader, writer):
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", int(broker_port))
            old = text("127.0.0.1") + struct.pack(">i", int(broker_port))
            new = text("localhost") + struct.pack(">i", int(port))
            while True:
                request = await frame(reader)
                send(to_broker, request)
                answer = await frame(from_broker)
                if struct.unpack(">h", request[:2])[0] == METADATA:
                    answer = answer.replace(old, new)
                send(writer, answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*files)
    async with await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=tls) as server:
        await server.serve_forever()


asyncio.run(main())
