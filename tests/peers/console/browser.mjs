// Chromium, driven by playwright-core: pages that record every error, and what axe-core finds on them.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// A name that resolves to this machine, as that of an attacker's site does after DNS rebinding.
export const REBOUND_HOST = "rebound.example";

export class Browser {
  // Starts the browser at this path; `modules` is the node_modules folder of package.json.
  static async start(modules, executablePath) {
    const browser = new Browser();
    const { chromium } = await import(pathToFileURL(`${modules}/playwright-core/index.mjs`));
    // Chromium's sandbox does not run as root.
    const asRoot = process.getuid() === 0 ? ["--no-sandbox"] : [];
    const args = [...asRoot, "--disable-dev-shm-usage", `--host-resolver-rules=MAP ${REBOUND_HOST} 127.0.0.1`];
    browser.chromium = await chromium.launch({ executablePath, headless: true, args });
    browser.axe = readFileSync(`${modules}/axe-core/axe.min.js`, "utf8");
    return browser;
  }

  // Opens an address in a new window. `page.faults` has the errors and warnings of the console, exceptions and violations of the
  // content security policy.
  async open(address, { colorScheme = "light", width = 1280, height = 800 } = {}) {
    const context = await this.chromium.newContext({ colorScheme, viewport: { width, height }, reducedMotion: "reduce" });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    page.faults = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) page.faults.push(message.text());
    });
    page.on("pageerror", (error) => page.faults.push(String(error)));
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
    });
    await page.goto(address);
    return page;
  }

  // Returns what axe-core finds on the page: rule, help and place of each finding.
  async accessibilityFindings(page) {
    await page.evaluate(this.axe);
    const { passes, violations } = await page.evaluate(() => axe.run());
    if (!passes.some(({ id }) => id === "color-contrast")) throw new Error("axe-core did not look at the colours");
    return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => ({ id, help, target, failureSummary })));
  }

  async stop() {
    await this.chromium.close();
  }
}
