// Fails on wording that CONTRIBUTING.md rules out, in comments, strings, docs and test names: prints file:line for each.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';

/** A comment, or a paragraph of a document, that begins with a relative clause or a fragment in place of a noun. */
const BEGINNING =
  /^\s*(?:\/\*\*|\/\/|\*|#|-|\|)?\s*(?:So (?:many|much|long|often)|What|Whatever|Who|Whoever|Whom|Of) (?!is new\b)/;
const COMMENT = /^\s*(?:\/\*\*|\/\/|\*)/;
const VERBS = [
  [/\bmend(?:s|ed|ing)?\b/i, 'fix'],
  [/\blook(?:s|ed|ing)? after\b/i, 'process'],
  [/\b(?:stand(?:s|ing)?|stood) still\b/i, 'stall'],
  [/\b(?:is|are|was|were|be|been) away\b/i, 'be unavailable'],
  [/\bg(?:ive|ives|ave|iven|iving) up\b/i, 'abort, time out'],
  [/\bc(?:ome|omes|ame|oming) again\b/i, 'be redelivered'],
  [/\b(?:is|are|was|were|be|been|being) told\b/i, 'be notified'],
  [/\bwhoever\b/i, 'name the client, operator or process'],
];

const files = execFileSync('git', ['ls-files'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => /\.(?:ts|mjs|js|md|sql|prisma|yml|yaml)$/.test(file) && file !== 'scripts/check-language.mjs');
const findings = files.flatMap((file) => {
  const isText = file.endsWith('.md');
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line, index) => {
      const found = [];
      if ((isText || COMMENT.test(line)) && BEGINNING.test(line) && !line.trimEnd().endsWith('?'))
        found.push('name the thing first');
      for (const [pattern, better] of VERBS) if (pattern.test(line)) found.push(better);
      return found.map((better) => `${file}:${index + 1}: ${line.trim().slice(0, 100)}  → ${better}`);
    });
});
for (const finding of findings) process.stdout.write(`${finding}\n`);
if (findings.length > 0) process.exit(1);
