// A copy of the files that the console shows and does not run: the template and the contract. A test changes them.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

export class Project {
  // Copies the files of the repository at this folder. The functions are built there.
  constructor(root) {
    this.folder = mkdtempSync(`${tmpdir()}/project-`);
    this.template = `${this.folder}/template.yaml`;
    this.contract = `${this.folder}/functions/ingress/openapi.yaml`;
    const template = readFileSync(`${root}/template.yaml`, "utf8");
    writeFileSync(this.template, template.replaceAll("Folder: functions", `Folder: ${root}/functions`));
    cpSync(`${root}/infra`, `${this.folder}/infra`, { recursive: true });
    mkdirSync(`${this.folder}/functions/ingress`, { recursive: true });
    cpSync(`${root}/functions/ingress/openapi.yaml`, this.contract);
  }

  remove() {
    rmSync(this.folder, { recursive: true });
  }
}
