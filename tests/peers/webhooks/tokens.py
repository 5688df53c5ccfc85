"""Makes access tokens with PyJWT, and verifies those of others, over standard input and output as tokens.mjs does."""
import json
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}


def private_key(alg):
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg])
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make(alg, claims):
    key = private_key(alg)
    algorithm = jwt.get_algorithm_by_name(alg)
    jwk = {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": alg, "alg": alg, "use": "sig"}
    return {"alg": alg, "jwk": jwk, "token": jwt.encode(claims, key, algorithm=alg, headers={"kid": alg})}


def verifies(entry, asked):
    key = jwt.PyJWK(entry["jwk"])
    try:
        jwt.decode(entry["token"], key, algorithms=[entry["jwk"]["alg"]], issuer=asked["issuer"], audience=asked["audience"])
    except jwt.InvalidTokenError:
        return False
    return True


asked = json.load(sys.stdin)
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
made = [make(alg, asked["claims"]) for alg in algorithms]
print(json.dumps({"made": made, "verified": [verifies(entry, asked) for entry in asked["tokens"]]}))
