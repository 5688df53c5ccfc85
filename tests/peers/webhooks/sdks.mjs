// sdks.mjs: signs and verifies webhooks with the providers' own SDKs. Reads a request a line, as JSON, and answers each with a
// line:
//
//   {"peer", "does": "secret", "secret"}           -> {"secret"}: the text to configure, for a key pair its public key
//   {"peer", "does": "sign", "secret", "at", ...}  -> {"headers"}, and "body" if the signature is in it
//   {"peer", "does": "verify", "secret", ...}      -> {"valid": true}, or {"valid": false, "reason"}
//
// A request also has "id", "method", "url", "headers" and "body"; "at" is in seconds since 1970. Key pairs are made on first
// use and named by "secret".
//
// Runs in the folder of the installed packages: node --input-type=module --eval "$(cat sdks.mjs)"

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { createInterface } from "node:readline";

import adyen from "@adyen/api-library";
import * as contentful from "@contentful/node-apps-toolkit";
import hubspot from "@hubspot/api-client";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import notion from "@notionhq/client";
import * as octokit from "@octokit/webhooks-methods";
import { Paddle } from "@paddle/paddle-node-sdk";
import * as sanity from "@sanity/webhook";
import sendgrid from "@sendgrid/eventwebhook";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import slack from "@slack/bolt/dist/receivers/verify-request.js";
import { WorkOS } from "@workos-inc/node";
import { WebhooksManager } from "box-node-sdk/lib/managers/webhooks";
import { computeWebhookSignature } from "box-node-sdk/lib/internal/utils";
import discord from "discord-interactions";
import * as gocardless from "gocardless-nodejs/webhooks";
import httpSignatures from "http-message-signatures";
import Lithic from "lithic";
import * as livekit from "livekit-server-sdk";
import OpenAI from "openai";
import { validateWebhook } from "replicate";
import { Resend } from "resend";
import square from "square";
import standardWebhooks from "standardwebhooks";
import Stripe from "stripe";
import svix from "svix";
import Telnyx from "telnyx";
import twilio from "twilio";

// Standard output has the answers alone.
console.log = console.info = console.debug = console.warn = console.error;

const API_KEY = "an-api-key";
const JWT_TTL_S = 300;

const lithic = new Lithic({ apiKey: API_KEY });
const stripe = new Stripe(API_KEY);
const telnyx = new Telnyx({ apiKey: API_KEY });
const workos = new WorkOS(API_KEY);
const hmac = new adyen.hmacValidator();
const eventWebhook = new sendgrid.EventWebhook();

// https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures/
const adyenItems = (body) => JSON.parse(body).notificationItems.map((each) => each.NotificationRequestItem);

const form = (body) => {
  const fields = {};
  for (const [name, value] of new URLSearchParams(body)) {
    fields[name] = name in fields ? [].concat(fields[name], value) : value;
  }
  return fields;
};

const pathAndQuery = (url) => url.slice(new URL(url).origin.length);

const pairs = new Map();

function keyPair(secret, type, options) {
  const name = `${type} ${secret}`;
  if (!pairs.has(name)) pairs.set(name, generateKeyPairSync(type, options));
  return pairs.get(name);
}

const ed25519 = (secret) => keyPair(secret, "ed25519");
const ed25519Public = (secret) => Buffer.from(ed25519(secret).publicKey.export({ format: "jwk" }).x, "base64url");
const p256 = (secret) => keyPair(secret, "ec", { namedCurve: "P-256" });
const p256Public = (secret) => p256(secret).publicKey.export({ type: "spki", format: "der" }).toString("base64");

function standard(Webhook, prefix, names = ["id", "timestamp", "signature"]) {
  const [id, timestamp, signature] = names.map((name) => `${prefix}-${name}`);
  return {
    sign: (r) => ({
      headers: {
        [id]: r.id,
        [timestamp]: String(r.at),
        [signature]: new Webhook(r.secret).sign(r.id, new Date(r.at * 1000), r.body),
      },
    }),
    verify: (r) => new Webhook(r.secret).verify(r.body, r.headers) !== undefined,
  };
}

const discordPeer = {
  secret: (r) => ed25519Public(r.secret).toString("hex"),
  sign: (r) => ({
    headers: {
      "x-signature-timestamp": String(r.at),
      "x-signature-ed25519": sign(null, Buffer.from(r.at + r.body), ed25519(r.secret).privateKey).toString("hex"),
    },
  }),
  verify: (r) =>
    discord.verifyKey(
      r.body,
      r.headers["x-signature-ed25519"],
      r.headers["x-signature-timestamp"],
      ed25519Public(r.secret).toString("hex"),
    ),
};

// RFC 9421 and RFC 9530.
const SIGNED_COMPONENTS = ["@method", "@authority", "@path", "@query", "idempotency-key", "content-digest"];
const contentDigest = (body) => `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;

const boxVersion = { "box-signature-version": "1", "box-signature-algorithm": "HmacSHA256" };
const box = (escaped) => ({
  sign: async (r) => {
    const headers = { ...boxVersion, "box-delivery-timestamp": new Date(r.at * 1000).toISOString() };
    headers["box-signature-primary"] = await computeWebhookSignature(r.body, headers, r.secret, escaped);
    return { headers };
  },
  verify: (r) => WebhooksManager.validateMessage(r.body, { ...boxVersion, ...r.headers }, r.secret),
});

const shopify = (r) =>
  shopifyApi({
    apiKey: API_KEY,
    apiSecretKey: r.secret,
    apiVersion: Object.values(ApiVersion)[0],
    hostName: "api.example.com",
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error },
  });
const shopifyPeer = {
  verify: async (r) => {
    const rawRequest = { method: r.method, url: pathAndQuery(r.url), headers: r.headers };
    return (await shopify(r).webhooks.validate({ rawBody: r.body, rawRequest })).valid;
  },
};

const peers = {
  adyen: {
    sign: (r) => {
      const body = JSON.parse(r.body);
      for (const { NotificationRequestItem: item } of body.notificationItems) {
        item.additionalData = { hmacSignature: hmac.calculateHmac(item, r.secret) };
      }
      return { headers: {}, body: JSON.stringify(body) };
    },
    verify: (r) => adyenItems(r.body).every((item) => hmac.validateHMAC(item, r.secret)),
  },
  "adyen-platform": {
    sign: (r) => ({ headers: { hmacsignature: hmac.calculateHmac(r.body, r.secret) } }),
    verify: (r) => hmac.validateHMACSignature(r.secret, r.headers.hmacsignature, r.body),
  },
  box: box(false),
  "box-escaped": box(true),
  contentful: {
    sign: (r) => {
      const headers = { "x-contentful-topic": r.headers["x-contentful-topic"] };
      const request = { method: r.method, path: pathAndQuery(r.url), headers, body: r.body };
      return { headers: contentful.signRequest(r.secret, request, r.at * 1000) };
    },
    verify: (r) =>
      contentful.verifyRequest(r.secret, {
        method: r.method,
        path: pathAndQuery(r.url),
        headers: r.headers,
        body: r.body,
      }),
  },
  discord: discordPeer,
  "discord-events": discordPeer,
  github: {
    sign: async (r) => ({ headers: { "x-hub-signature-256": await octokit.sign(r.secret, r.body) } }),
    verify: (r) => octokit.verify(r.secret, r.body, r.headers["x-hub-signature-256"]),
  },
  gocardless: {
    verify: (r) => gocardless.parse(r.body, r.secret, r.headers["webhook-signature"]).length > 0,
  },
  "http-message-signatures": {
    sign: async (r) => {
      const { httpbis, createSigner } = httpSignatures;
      const message = { ...r, headers: { ...r.headers, "content-digest": contentDigest(r.body) } };
      const key = createSigner(Buffer.from(r.secret, "base64"), "hmac-sha256", API_KEY);
      const paramValues = { created: new Date(r.at * 1000) };
      const params = ["created", "keyid", "alg"];
      const signed = await httpbis.signMessage({ key, fields: SIGNED_COMPONENTS, params, paramValues }, message);
      const headers = Object.entries(signed.headers).map(([name, value]) => [name.toLowerCase(), value]);
      return { headers: Object.fromEntries(headers) };
    },
    verify: async (r) => {
      const { httpbis, createVerifier } = httpSignatures;
      const verify = createVerifier(Buffer.from(r.secret, "base64"), "hmac-sha256");
      const keyLookup = async ({ keyid }) => ({ id: keyid, algs: ["hmac-sha256"], verify });
      const required = { requiredFields: SIGNED_COMPONENTS, requiredParams: ["created"], maxAge: 300 };
      const valid = await httpbis.verifyMessage({ keyLookup, ...required }, r);
      return valid === true && r.headers["content-digest"] === contentDigest(r.body);
    },
  },
  hubspot: {
    sign: (r) => {
      const options = { clientSecret: r.secret, requestBody: r.body, url: r.url, timestamp: r.at * 1000 };
      const signature = hubspot.Signature.getSignature(r.method, "v3", options);
      return {
        headers: { "x-hubspot-request-timestamp": String(r.at * 1000), "x-hubspot-signature-v3": signature },
      };
    },
    verify: (r) =>
      hubspot.Signature.isValid({
        signatureVersion: "v3",
        method: r.method,
        clientSecret: r.secret,
        requestBody: r.body,
        url: r.url,
        timestamp: Number(r.headers["x-hubspot-request-timestamp"]),
        signature: r.headers["x-hubspot-signature-v3"],
      }),
  },
  linear: {
    verify: (r) => new LinearWebhookClient(r.secret).verify(Buffer.from(r.body), r.headers["linear-signature"]),
  },
  lithic: {
    verify: (r) => lithic.webhooks.unwrap(r.body, r.headers, r.secret) !== undefined,
  },
  livekit: {
    sign: async (r) => {
      const ttl = r.at + JWT_TTL_S - Math.floor(Date.now() / 1000);
      const token = new livekit.AccessToken(API_KEY, r.secret, { ttl });
      token.sha256 = createHash("sha256").update(r.body).digest("base64");
      return { headers: { authorization: await token.toJwt() } };
    },
    // Without an API key the receiver does not compare the issuer, which a secret alone does not give.
    verify: async (r) => {
      const receiver = new livekit.WebhookReceiver(undefined, r.secret);
      return (await receiver.receive(r.body, r.headers.authorization)) !== undefined;
    },
  },
  notion: {
    sign: async (r) => ({
      headers: {
        "x-notion-signature": await notion.signWebhookPayload({ body: r.body, verificationToken: r.secret }),
      },
    }),
    verify: (r) =>
      notion.verifyWebhookSignature({
        body: r.body,
        signature: r.headers["x-notion-signature"],
        verificationToken: r.secret,
      }),
  },
  openai: {
    verify: async (r) => {
      await new OpenAI({ apiKey: API_KEY }).webhooks.verifySignature(r.body, r.headers, r.secret);
      return true;
    },
  },
  paddle: {
    verify: (r) => new Paddle(API_KEY).webhooks.isSignatureValid(r.body, r.secret, r.headers["paddle-signature"]),
  },
  replicate: {
    verify: (r) => validateWebhook({ headers: r.headers, body: r.body }, r.secret),
  },
  resend: {
    verify: (r) => {
      const [id, timestamp, signature] = ["id", "timestamp", "signature"].map((name) => r.headers[`svix-${name}`]);
      const headers = { id, timestamp, signature };
      return new Resend(API_KEY).webhooks.verify({ payload: r.body, headers, webhookSecret: r.secret }) !== undefined;
    },
  },
  sanity: {
    sign: async (r) => ({
      headers: { "sanity-webhook-signature": await sanity.encodeSignatureHeader(r.body, r.at * 1000, r.secret) },
    }),
    verify: (r) => sanity.isValidSignature(r.body, r.headers["sanity-webhook-signature"], r.secret),
  },
  sendgrid: {
    secret: (r) => p256Public(r.secret),
    sign: (r) => ({
      headers: {
        "x-twilio-email-event-webhook-timestamp": String(r.at),
        "x-twilio-email-event-webhook-signature": sign(
          "sha256",
          Buffer.from(r.at + r.body),
          p256(r.secret).privateKey,
        ).toString("base64"),
      },
    }),
    verify: (r) =>
      eventWebhook.verifySignature(
        eventWebhook.convertPublicKeyToECDSA(p256Public(r.secret)),
        r.body,
        r.headers["x-twilio-email-event-webhook-signature"],
        r.headers["x-twilio-email-event-webhook-timestamp"],
      ),
  },
  shopify: shopifyPeer,
  "shopify-events": shopifyPeer,
  slack: {
    verify: (r) => slack.isValidSlackRequest({ signingSecret: r.secret, headers: r.headers, body: r.body }),
  },
  square: {
    verify: (r) =>
      square.WebhooksHelper.verifySignature({
        requestBody: r.body,
        signatureHeader: r.headers["x-square-hmacsha256-signature"],
        signatureKey: r.secret,
        notificationUrl: r.url,
      }),
  },
  "standard-webhooks": standard(standardWebhooks.Webhook, "webhook"),
  stripe: {
    sign: (r) => {
      const options = { payload: r.body, secret: r.secret, timestamp: r.at };
      return { headers: { "stripe-signature": stripe.webhooks.generateTestHeaderString(options) } };
    },
    verify: (r) => stripe.webhooks.constructEvent(r.body, r.headers["stripe-signature"], r.secret) !== undefined,
  },
  svix: standard(svix.Webhook, "svix"),
  telnyx: {
    secret: (r) => ed25519Public(r.secret).toString("base64"),
    sign: (r) => ({
      headers: {
        "telnyx-timestamp": String(r.at),
        "telnyx-signature-ed25519": sign(
          null,
          Buffer.from(`${r.at}|${r.body}`),
          ed25519(r.secret).privateKey,
        ).toString("base64"),
      },
    }),
    verify: async (r) => {
      const key = ed25519Public(r.secret).toString("base64");
      return (await telnyx.webhooks.unwrap(r.body, { headers: r.headers, key })) !== undefined;
    },
  },
  twilio: {
    sign: (r) => ({
      headers: { "x-twilio-signature": twilio.getExpectedTwilioSignature(r.secret, r.url, form(r.body)) },
    }),
    verify: (r) => twilio.validateRequest(r.secret, r.headers["x-twilio-signature"], r.url, form(r.body)),
  },
  "twilio-shared-key": {
    sign: (r) => {
      const algorithm = twilio.getSignatureAlgorithm(r.headers["x-twilio-webhooks-signature-settings"]);
      const signature = twilio.getExpectedTwilioSignature(r.secret, r.url, form(r.body), algorithm);
      return { headers: { "x-twilio-signature": signature } };
    },
    verify: (r) => {
      const algorithm = twilio.getSignatureAlgorithm(r.headers["x-twilio-webhooks-signature-settings"]);
      return twilio.validateRequest(r.secret, r.headers["x-twilio-signature"], r.url, form(r.body), algorithm);
    },
  },
  "twilio-json": {
    sign: (r) => ({ headers: { "x-twilio-signature": twilio.getExpectedTwilioSignature(r.secret, r.url, {}) } }),
    verify: (r) => twilio.validateRequestWithBody(r.secret, r.headers["x-twilio-signature"], r.url, r.body),
  },
  workos: {
    sign: async (r) => {
      const at = r.at * 1000;
      const signature = await workos.webhooks.computeSignature(at, JSON.parse(r.body), r.secret);
      return { headers: { "workos-signature": `t=${at}, v1=${signature}` } };
    },
    verify: (r) => {
      const sigHeader = r.headers["workos-signature"];
      return workos.webhooks.verifyHeader({ payload: JSON.parse(r.body), sigHeader, secret: r.secret });
    },
  },
};

async function answer(request) {
  const peer = peers[request.peer];
  if (request.does === "secret") return { secret: peer.secret ? peer.secret(request) : request.secret };
  if (request.does === "sign") return peer.sign(request);
  try {
    return { valid: await peer.verify(request) };
  } catch (error) {
    return { valid: false, reason: String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
