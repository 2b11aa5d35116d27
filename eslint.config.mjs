import { defineConfig } from 'eslint/config';
import importX from 'eslint-plugin-import-x';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/**
 * Imports point one way: a path may import from those before it and from itself, never from those after it. A longer
 * path is not part of a shorter one: src/events/matching comes before the rest of src/events.
 */
const layers = [
  ['lib'],
  ['postgres', 'nats', 'tracing'],
  ['auth'],
  ['events/event-type.ts', 'events/matching', 'events/catalogue'],
  ['delivery/http', 'delivery/queue'],
  ['subscriptions'],
  ['events'],
  ['delivery/circuit', 'delivery/sending'],
  ['delivery-log'],
  ['replays', 'retention', 'audit', 'erasure', 'alerts'],
  ['schema'],
  ['config'],
  ['server'],
  [
    'embedded',
    'infrastructure.ts',
    'services.ts',
    'jobs.ts',
    'start-up.ts',
    'workers',
    'app.ts',
    'main.ts',
    'program.ts',
    'relaunch.ts',
    'demo',
    'cli',
  ],
];

const zones = layers.flatMap((lower, index) =>
  lower.map((folder) => {
    const above = layers.slice(index + 1).flat();
    const below = layers.slice(0, index + 1).flat();
    return above.map((from) => ({
      target: `./src/${folder}`,
      from: `./src/${from}`,
      except: below.filter((path) => path.startsWith(`${from}/`)).map((path) => `./${path.slice(from.length + 1)}`),
      message: 'Imports point one way, see the layers in eslint.config.mjs.',
    }));
  }),
);

/** Which paths may import a library: the folder that wraps it, and the clients. All others may import its types. */
const owners = [
  { libraries: '(graphql|graphql-yoga|@pothos/.+)', paths: ['schema', 'server', 'cli', 'demo'] },
  { libraries: '(graphql-ws|ws)', paths: ['server', 'cli', 'demo'] },
  { libraries: '(got|ipaddr\\.js)', paths: ['delivery/http'] },
  { libraries: 'nats', paths: ['nats', 'demo'] },
  { libraries: 'jose', paths: ['auth'] },
  { libraries: '(ajv|ajv-formats)', paths: ['events/catalogue'] },
  { libraries: '@prisma/.+', paths: ['postgres'] },
  { libraries: '@opentelemetry/.+', paths: ['tracing'] },
];

/**
 * One entry for each path with the libraries that it does not own: of several entries for a file, only the last one's
 * options of a rule count.
 */
const libraryRules = ['', ...new Set(owners.flatMap(({ paths }) => paths))].map((path) => ({
  files: [path === '' ? 'src/**' : `src/${path}/**`],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: owners
          .filter(({ paths }) => !paths.includes(path))
          .map(({ libraries, paths }) => ({
            regex: `^${libraries}(/.*)?$`,
            allowTypeImports: true,
            message: `Only ${paths.join(', ')} may import this library, others its types.`,
          })),
      },
    ],
  },
}));

const callOf = (object, method) => `CallExpression[callee.object.name="${object}"][callee.property.name="${method}"]`;

export default defineConfig(
  { ignores: ['dist/', 'src/generated/', 'console/generated/', '.data/', 'coverage/'] },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked],
    // One program for each of the two, built once. The project service, which editors need, takes an eighth more CPU time.
    languageOptions: {
      parserOptions: { project: ['tsconfig.json', 'console/tsconfig.json'], tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'no-console': 'error',
      'max-params': ['error', 3],
      complexity: ['error', 15],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Numbers read well in messages; the rule's other cases (objects, undefined) stay on.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'src/config/config.ts is the only reader of the environment.' },
      ],
      'no-restricted-imports': ['error', { paths: [] }],
    },
  },
  {
    files: ['src/**'],
    plugins: { 'import-x': importX },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones: zones.flat() }],
      'no-restricted-syntax': [
        'error',
        {
          selector: `${callOf('AbortSignal', 'any')} ${callOf('AbortSignal', 'timeout')}`,
          message:
            'The time limit may vanish with a garbage collection (nodejs/node#57867). Use limitSignal of src/lib/waiting.ts.',
        },
        {
          selector: `BinaryExpression[operator="-"] > ${callOf('Date', 'now')}.left`,
          message: 'The system clock may be set while a duration is measured. Use performance.now().',
        },
      ],
    },
  },
  {
    files: ['src/schema/**'],
    // The parameters of a Pothos resolver are query, parent, arguments, context and info.
    rules: { 'max-params': ['error', 5] },
  },
  ...libraryRules,
  {
    files: [
      'src/config/config.ts',
      'src/relaunch.ts',
      'src/cli/run.ts',
      'src/demo/main.ts',
      'scripts/screenshots.ts',
      'prisma.config.ts',
      'console/vite.config.ts',
      'test/**',
      'bench/**',
      'examples/**',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    files: ['console/**/*.{ts,tsx}'],
    extends: [reactHooks.configs.flat.recommended],
    rules: {
      // Handlers of React take promises: an event is not awaited.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '\\.\\./src/', message: 'The console knows the engine only by its GraphQL API.' }] },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'JSXAttribute[name.name="dangerouslySetInnerHTML"]',
          message: 'Bodies, ids and URLs are hostile: they are shown as text only.',
        },
        {
          selector: 'MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]',
          message: 'Bodies, ids and URLs are hostile: they are shown as text only.',
        },
        {
          selector: 'JSXAttribute[name.name="href"]',
          message: 'Links to pages are <Link> of ui/link.tsx, and URLs of endpoints are text.',
        },
      ],
    },
  },
  // The output on the terminal is the product of these files.
  {
    files: ['src/demo/**', 'scripts/**', 'bench/**', 'test/crash-test/**', 'examples/**'],
    rules: { 'no-console': 'off' },
  },
);
