// tokens.mjs: makes access tokens with jose, and verifies those of others. Reads one JSON from standard input:
//
//   {"claims", "issuer", "audience", "tokens": [{"token", "jwk"}]}
//
// and answers {"made": [{"alg", "jwk", "token"}], "verified": [true, …]}.
//
// Runs in the folder of the installed packages, as sdks.mjs does.

import { readFileSync } from "node:fs";

import { SignJWT, exportJWK, generateKeyPair, importJWK, jwtVerify } from "jose";

const { claims, issuer, audience, tokens } = JSON.parse(readFileSync(0, "utf8"));

const made = [];
for (const alg of ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: alg, alg, use: "sig" };
  const token = await new SignJWT(claims).setProtectedHeader({ alg, kid: alg, typ: "JWT" }).sign(privateKey);
  made.push({ alg, jwk, token });
}

const verified = [];
for (const { token, jwk } of tokens) {
  const key = await importJWK(jwk, jwk.alg);
  verified.push(await jwtVerify(token, key, { issuer, audience }).then(() => true, () => false));
}

console.log(JSON.stringify({ made, verified }));
