// Writes codings.json: bodies in each content coding, made by zlib and Brotli of Node.js and by the zstd command.
//
//     node tests/vectors/codings.mjs
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import zlib from 'node:zlib';

const zstd = (bytes, ...options) => execFileSync('zstd', ['--stdout', ...options], { input: bytes });
const encoders = { gzip: zlib.gzipSync, deflate: zlib.deflateSync, br: zlib.brotliCompressSync, zstd };
const text = 'Grüße\r\n' + 'a text that is a little longer, '.repeat(20);
const vectors = [];
const add = (name, coding, body, status, more) =>
    vectors.push({ name, coding, status, ...more, body: Buffer.from(body).toString('base64') });
const invalid = { code: 'content_encoding_invalid' };
const large = { code: 'payload_too_large' };

for (const [coding, encode] of Object.entries(encoders)) {
    const body = encode(Buffer.from(text));
    add(`${coding}, text`, coding, body, 202, { decoded: text });
    add(`${coding}, JSON`, coding, encode(Buffer.from('{"n": 1}')), 202, { decoded: '{"n": 1}', json: true });
    add(`${coding}, cut at the end`, coding, body.subarray(0, body.length - 5), 400, invalid);
    add(`${coding}, cut in the middle`, coding, body.subarray(0, body.length / 2), 400, invalid);
    add(`${coding}, only its first byte`, coding, body.subarray(0, 1), 400, invalid);
    add(`${coding}, not encoded`, coding, 'plain text', 400, invalid);
    add(`${coding}, 64 KiB from few bytes`, coding, encode(Buffer.alloc(65536, 'x')), 202, { repeated: 65536 });
    add(`${coding}, a bomb by its ratio`, coding, encode(Buffer.alloc(150_000, 'x')), 413, large);
    add(`${coding}, a bomb by its size`, coding, encode(Buffer.alloc(20_000_000, 'x')), 413, large);
}
const body = zlib.gzipSync(text);
add('gzip, two members', 'gzip', Buffer.concat([body, body]), 202, { decoded: text + text });
add('gzip, in upper case', 'GZIP', body, 202, { decoded: text });
add('gzip, by its old name', 'x-gzip', body, 202, { decoded: text });
add('gzip beside identity', 'identity, gzip', body, 202, { decoded: text });
add('gzip, a wrong checksum', 'gzip', Buffer.concat([body.subarray(0, -8), Buffer.alloc(4), body.subarray(-4)]), 400, invalid);
add('deflate without the zlib format', 'deflate', zlib.deflateRawSync(text), 202, { decoded: text });
add('deflate, a wrong checksum', 'deflate', Buffer.concat([zlib.deflateSync(text).subarray(0, -4), Buffer.alloc(4)]), 400, invalid);
add('zstd, two frames', 'zstd', Buffer.concat([zstd(text), zstd(text)]), 202, { decoded: text + text });
add('zstd, a window of 128 MiB', 'zstd', zstd(text, '--long=27', '--ultra', '-22'), 400, invalid);
add('zstd, bytes after the frame', 'zstd', Buffer.concat([zstd(text), Buffer.from('x')]), 400, invalid);

writeFileSync(new URL('codings.json', import.meta.url), JSON.stringify(vectors, null, 1) + '\n');
