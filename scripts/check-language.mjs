// Finds wording that CONTRIBUTING.md rules out, in comments, strings and documents, and prints file:line for each.
// Arguments: the files to check; by default all of the repository. Code itself is not checked, nor `code` in backticks.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** A comment line, paragraph, list item or table cell that begins with a relative clause or a fragment, not with a noun. */
const BEGINNING = /^(?:So (?:many|much|long|often)|What|Whatever|Who|Whoever|Whom|Of(?! course\b)) /;
const WORDS = [
  [/\bmend(?:s|ed|ing)?\b/i, 'fix'],
  [/\blook(?:s|ed|ing)? after\b/i, 'process'],
  [/\b(?:stand(?:s|ing)?|stood) still\b/i, 'stall'],
  [/\b(?:is|are|was|were|be|been) away\b/i, 'be unavailable'],
  [/\bg(?:ive|ives|ave|iven|iving) up\b/i, 'abort, time out'],
  [/\bc(?:ome|omes|ame|oming) again\b/i, 'be redelivered, reconnect'],
  // "Told apart" means "distinguished".
  [/\b(?:is|are|was|were|be|been|being) told\b(?! apart)/i, 'be notified'],
  [/\bwhoever\b/i, 'name the client, operator or process'],
];

/** The files with the ruled-out words as data. */
const EXEMPT = new Set(['scripts/check-language.mjs', 'test/unit/check-language.test.ts']);
/** Comments in files that the compiler does not read. */
const LINE_COMMENTS = { sql: /--(.*)/, prisma: /\/\/\/?(.*)/, yml: /(?:^|\s)#(.*)/, yaml: /(?:^|\s)#(.*)/ };

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  const given = process.argv.slice(2);
  const files = given.length > 0 ? given : repositoryFiles();
  const findings = files.flatMap((file) => findingsIn(file, readFileSync(file, 'utf8')));
  for (const { file, line, text, better } of findings) process.stdout.write(`${file}:${line}: ${text}  → ${better}\n`);
  if (findings.length > 0) process.exitCode = 1;
}

function repositoryFiles() {
  return execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
    .split('\n')
    .filter(
      (file) => /\.(?:ts|tsx|mjs|js|md|sql|prisma|yml|yaml)$/.test(file) && !EXEMPT.has(file) && existsSync(file),
    );
}

/** Each finding with its line, from 1, and the better wording. The file's name decides what its comments look like. */
export function findingsIn(file, text) {
  const lines = linesOf(file, text);
  return lines.flatMap(({ prose, canBegin }, index) => {
    const found = WORDS.flatMap(([pattern, better]) => (pattern.test(prose) ? [better] : []));
    if (canBegin && BEGINNING.test(prose) && !isQuestion(lines, index)) found.push('name the thing first');
    const excerpt = text.split('\n')[index].trim().slice(0, 100);
    return found.map((better) => ({ file, line: index + 1, text: excerpt, better }));
  });
}

/** The prose of each line, without code. `canBegin`: the line can be the beginning of a sentence. */
function linesOf(file, text) {
  const extension = file.split('.').at(-1);
  if (extension === 'md') return linesOfDocument(text);
  const comment = LINE_COMMENTS[extension];
  if (comment === undefined) return linesOfProgram(file, text);
  return text.split('\n').map((line) => ({ prose: withoutCode(comment.exec(line)?.[1] ?? ''), canBegin: true }));
}

function linesOfDocument(text) {
  let isCode = false;
  return text.split('\n').map((line) => {
    const isFence = /^\s*```/.test(line);
    if (isFence) isCode = !isCode;
    if (isFence || isCode) return { prose: '', canBegin: false };
    const prose = withoutCode(line.replaceAll(/\]\([^)]*\)/g, ']').replace(/^\s*(?:[#>|*-]+ |\d+\. )?\**/, ''));
    return { prose, canBegin: true };
  });
}

function linesOfProgram(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lines = text.split('\n').map(() => ({ prose: '', canBegin: false }));
  const add = (start, end, canBegin) => {
    const first = source.getLineAndCharacterOfPosition(start).line;
    for (const [index, part] of text.slice(start, end).split('\n').entries()) {
      const line = lines[first + index];
      const prose = withoutCode(canBegin ? part.replace(/^\s*(?:\/\*\*?|\/\/|\*(?!\/)|['"`])?\s*/, '') : part);
      line.canBegin ||= canBegin && line.prose === '';
      line.prose = line.prose === '' ? prose : `${line.prose} … ${prose}`;
    }
  };
  const seen = new Set();
  const addComment = (start, end) => {
    if (seen.has(start)) return;
    seen.add(start);
    add(start, end, true);
  };
  const visit = (node) => {
    if (ts.isJSDoc(node)) return;
    const children = node.getChildren(source);
    if (children.length === 0) {
      ts.forEachLeadingCommentRange(text, node.pos, addComment);
      ts.forEachTrailingCommentRange(text, node.end, addComment);
      if (isText(node)) add(node.getStart(source), node.end, isDescription(node));
    }
    for (const child of children) visit(child);
  };
  visit(source);
  return lines;
}

function isText({ kind }) {
  return kind === ts.SyntaxKind.StringLiteral || ts.isTemplateLiteralKind(kind);
}

/** GraphQL descriptions and metric help texts are whole sentences. Other strings may be parts of a sentence. */
function isDescription({ parent }) {
  return ts.isPropertyAssignment(parent) && /^(?:description|help|meaning)$/.test(parent.name.getText());
}

function withoutCode(line) {
  return line.replaceAll(/`[^`]*`/g, '``').trim();
}

function isQuestion(lines, index) {
  const rest = lines.slice(index, index + 5).map(({ prose }) => prose);
  const [end] = /[.?!](?=\s|$)/.exec(rest.join(' ').split(' … ')[0]) ?? [];
  return end === '?';
}
