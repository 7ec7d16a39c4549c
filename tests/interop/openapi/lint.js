// Lints an OpenAPI document with Redocly's recommended rules and Spectral's `spectral:oas`; prints each problem, exits 1 if
// there is any, warnings included. Usage: node lint.js DOCUMENT
const { spawnSync } = require("node:child_process");
const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { createConfig, lint } = require("@redocly/openapi-core");

async function main(document) {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lint({ ref: document, config });
  for (const it of problems) console.log(`redocly: ${it.severity} ${it.ruleId}: ${it.message} ${it.location[0]?.pointer}`);
  const rules = join(__dirname, "rules.yaml");
  writeFileSync(rules, 'extends: ["spectral:oas"]\n');
  const program = join(__dirname, "node_modules", ".bin", "spectral");
  const spectral = spawnSync(program, ["lint", document, "--ruleset", rules, "--fail-severity", "hint"], { stdio: "inherit" });
  process.exit(problems.length > 0 || spectral.status !== 0 ? 1 : 0);
}

main(process.argv[2]);
