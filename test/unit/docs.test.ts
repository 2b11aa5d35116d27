import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSchema, GraphQLEnumType, parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { VARIABLES } from '../../src/config/variables.ts';
import type { Operator } from '../../src/events/matching/filter-validation.ts';
import { natsNames } from '../../src/nats/names.ts';
import { requiredSetup } from '../../src/nats/streams.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const PAGES = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/README.md', 'examples/README.md'],
  'test/crash-test/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

type Manifest = Readonly<Record<'dependencies' | 'scripts', Readonly<Record<string, string>>>>;
// `as`: npm reads the same file and fails if it has another form.
const { dependencies, scripts } = JSON.parse(read('package.json')) as Manifest;

/** The type makes the compiler check that every operator is listed. */
const OPERATORS: Readonly<Record<Operator, true>> = {
  $eq: true,
  $ne: true,
  $in: true,
  $nin: true,
  $gt: true,
  $gte: true,
  $lt: true,
  $lte: true,
  $startsWith: true,
  $exists: true,
  $and: true,
  $or: true,
  $not: true,
};

const schema = buildSchema(read('schema.graphql'));

function valuesOf(enumName: string): string[] {
  const type = schema.getType(enumName);
  if (!(type instanceof GraphQLEnumType)) throw new Error(`there is no enum ${enumName}`);
  return type.getValues().map(({ name }) => name);
}

/** The cells of each row of the table whose first column has this title. */
function tableOf(page: string, firstColumn: string): string[][] {
  const lines = read(page).split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstColumn} |`));
  if (start === -1) throw new Error(`${page} has no table that begins with ${firstColumn}`);
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end === -1 ? undefined : end).map((line) => line.split(' | ').map((cell) => cell.trim()));
}

const namesIn = (text: string | undefined): string[] =>
  [...(text ?? '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);

/** The anchors that GitHub generates for the headings: lower case, without punctuation, with hyphens. */
function anchorsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** All paths below the source folders, relative to the root. */
const SOURCES = ['bench', 'console', 'examples', 'prisma', 'scripts', 'src', 'test'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
);

test('docs/privacy.md names every table, and no other', () => {
  const migrations = SOURCES.filter((path) => path.endsWith('migration.sql')).map(read);
  const tables = migrations.flatMap((sql) =>
    [...sql.matchAll(/^CREATE TABLE (\w+) \(/gm)].map(([, name = '']) => name),
  );
  const named = tableOf('docs/privacy.md', 'table').flatMap(([cell]) => namesIn(cell));
  expect(named.toSorted()).toEqual(tables.toSorted());
});

test.each(PAGES)('%s names only source files that exist', (page) => {
  const named = [...read(page).matchAll(/`([\w./-]+\.(?:tsx?|sql|prisma))`/g)].map(([, name = '']) => name);
  const exists = (name: string) =>
    existsSync(join(ROOT, name)) || SOURCES.some((path) => path.endsWith(`/${name.replace(/^\.\//, '')}`));
  expect(named.filter((name) => !exists(name))).toEqual([]);
});

test.each(PAGES)('each row of a table in %s has as many cells as its header', (page) => {
  const cellCount = (line: string) => line.replaceAll('\\|', '').split('|').length;
  const lines = read(page).split('\n');
  const headers = lines.flatMap((line, index) => (/^\| *:?-+:? *\|/.test(line) ? [index - 1] : []));
  const broken = headers.flatMap((header) => {
    const end = lines.findIndex((line, index) => index > header && !line.startsWith('|'));
    const rows = lines.slice(header, end === -1 ? undefined : end);
    return rows.filter((row) => cellCount(row) !== cellCount(lines[header] ?? ''));
  });
  expect(broken).toEqual([]);
});

describe('docs/delivery-semantics.md', () => {
  const PAGE = 'docs/delivery-semantics.md';

  test('its table has exactly the failure reasons', () => {
    const named = tableOf(PAGE, '`failureReason`').flatMap(([reason]) => namesIn(reason));
    expect(named.sort()).toEqual(valuesOf('FailureReason').sort());
  });

  test('its table has exactly the reasons for a rejection', () => {
    const named = tableOf(PAGE, 'reason').flatMap(([reason]) => namesIn(reason));
    expect(named.sort()).toEqual(valuesOf('RejectionReason').sort());
  });

  test('its table has exactly the wait reasons of a delivery', () => {
    const named = tableOf(PAGE, '`waitingFor`').flatMap(([reason]) => namesIn(reason));
    expect(named.sort()).toEqual(valuesOf('WaitReason').sort());
  });

  test('its table has exactly the results of matching', () => {
    const named = tableOf(PAGE, '`result`').flatMap(([result]) => namesIn(result));
    expect(named.sort()).toEqual(valuesOf('ConsiderationResult').sort());
  });

  test('its table of states leads to every status of a delivery', () => {
    const reached = new Set(tableOf(PAGE, 'from').flatMap(([, to]) => namesIn(to)));
    expect([...reached]).toEqual(expect.arrayContaining(valuesOf('DeliveryStatus')));
  });
});

test("docs/authentication.md's table has exactly the scopes", () => {
  const named = tableOf('docs/authentication.md', 'scope').flatMap(([scope]) => namesIn(scope));
  expect(named.sort()).toEqual(valuesOf('ApiKeyScope').sort());
});

test('docs/graphql.md has every error code that can come before a resolver or in place of its value', () => {
  const folders = ['src/schema', 'src/server'].map((folder) => join(ROOT, folder));
  const sources = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8')),
  );
  const codes = sources.flatMap((text) => [...text.matchAll(/\bcode: '([A-Z_]+)'/g)].map(([, code]) => code));
  expect(codes.length).toBeGreaterThan(10);
  const named = tableOf('docs/graphql.md', 'code | what it means').flatMap(([cell]) => namesIn(cell));
  expect(named).toEqual(expect.arrayContaining(codes));
});

test('docs/payload-filters.md has exactly the operators in its table', () => {
  const named = tableOf('docs/payload-filters.md', 'operator').flatMap(([cell]) => [
    ...(cell ?? '').matchAll(/\$\w+/g),
  ]);
  expect(named.map(([name]) => name).sort()).toEqual(Object.keys(OPERATORS).sort());
});

test('docs/configuration.md has every setting with its meaning', () => {
  const rows = tableOf('docs/configuration.md', 'variable');
  expect(rows.map(([name]) => name)).toEqual(VARIABLES.map(({ name }) => `| \`${name}\``));
  expect(rows.map(([, , meaning]) => meaning)).toEqual(VARIABLES.map(({ meaning }) => `${meaning} |`));
});

test('docs/dependencies.md names exactly the dependencies at run time', () => {
  const named = tableOf('docs/dependencies.md', 'package').flatMap(([name]) => namesIn(name));
  expect(named.sort()).toEqual(Object.keys(dependencies).sort());
});

test('docs/nats-server.md has the streams with the settings that the program creates, without further limits', () => {
  const unlimited = Object.fromEntries(
    ['max_consumers', 'max_msgs', 'max_msgs_per_subject', 'max_msg_size'].map((name) => [name, -1]),
  );
  const shown = [...read('docs/nats-server.md').matchAll(/^```json\n(.*?)^```$/gms)].map(
    ([, json = '']) => JSON.parse(json) as unknown,
  );
  expect(shown).toEqual(
    requiredSetup(natsNames(), { replicas: 3 }).streams.map((stream) => ({ ...stream, ...unlimited })),
  );
});

test.each(PAGES)('the operations that %s sends with curl are valid in the schema', (page) => {
  const bodies = [...read(page).matchAll(/ -d '(\{"query": .*\})'$/gm)].map(([, body = '']) => body);
  if (page === 'README.md') expect(bodies.length).toBeGreaterThan(3);
  for (const body of bodies) {
    const { query } = JSON.parse(body) as { readonly query: string };
    expect(validate(schema, parse(query)), query).toEqual([]);
  }
});

test.each(PAGES)('the links of %s have existing targets', (page) => {
  const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)];
  const broken = links.filter(([, path = '', anchor]) => {
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
  expect(broken.map(([link]) => link)).toEqual([]);
});

test.each(PAGES)('the scripts that %s names exist', (page) => {
  const named = [...read(page).matchAll(/npm (?:run )?((?:start|test|demo|dev|bench|build|generate|check)[\w:]*)/g)];
  expect(named.map(([, name]) => name).filter((name) => name === undefined || !(name in scripts))).toEqual([]);
});

test('every path of a source file that the documentation names exists', () => {
  const documents = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`);
  const texts = [...documents, 'README.md', 'CONTRIBUTING.md'].map((name) => readFileSync(join(ROOT, name), 'utf8'));
  const paths = texts.flatMap((text) =>
    [...text.matchAll(/(?<![\w@/-])(?:src|test|bench|scripts)\/[\w./-]*\w/g)].map(([path]) => path),
  );
  expect(paths.length).toBeGreaterThan(20);
  expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('docs/architecture.md names functions and classes that exist in the files beside them', () => {
  const rows = ['One event', 'One subscription change'].flatMap(
    (title) =>
      read('docs/architecture.md')
        .split(`## ${title}`)[1]
        ?.split('\n## ')[0]
        ?.split('\n')
        .filter((line) => /^\| \d/.test(line)) ?? [],
  );
  expect(rows.length).toBeGreaterThan(20);
  const missing = rows.flatMap((row) => {
    const [, names, files] = row.split(' | ');
    const texts = namesIn(files).map(read);
    return namesIn(names).filter((name) => !texts.some((text) => new RegExp(`\\b${name}\\b`).test(text)));
  });
  expect(missing).toEqual([]);
});
