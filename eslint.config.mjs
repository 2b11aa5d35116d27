import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Imports point one way: server → schema → delivery → events → database. Each folder may not reach those before it. */
const order = ['server', 'schema', 'delivery', 'events', 'database'];
const importDirection = order.map((folder, index) => ({
  files: [`src/${folder}/**`],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: [...order.slice(0, index), 'embedded', 'demo']
              .map((before) => `**/${before}/**`)
              .concat('**/app.ts', '**/main.ts'),
            message: 'Imports point one way: server → schema → delivery → events → database.',
          },
          ...only(folder, ['server', 'schema'], ['graphql', 'graphql-yoga', '@pothos/*', 'graphql-ws']),
          ...only(folder, ['delivery'], ['got', 'ipaddr.js']),
          ...only(folder, ['events'], ['nats']),
        ],
      },
    ],
  },
}));

function only(folder, owners, libraries) {
  return owners.includes(folder)
    ? []
    : [{ group: libraries, message: `Only ${owners.join(' and ')} knows this library.` }];
}

export default defineConfig(
  { ignores: ['dist/', 'src/generated/', '.data/', 'coverage/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
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
        { object: 'process', property: 'env', message: 'src/config.ts is the only reader of the environment.' },
      ],
      'no-restricted-imports': ['error', { paths: [] }],
    },
  },
  ...importDirection,
  {
    files: [
      'src/config.ts',
      'src/relaunch.ts',
      'src/demo/main.ts',
      'prisma.config.ts',
      'test/**',
      'bench/**',
      'examples/**',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
  // What a person sees on the terminal is their product.
  {
    files: ['src/demo/**', 'scripts/**', 'bench/**', 'test/crash-test/**', 'examples/**'],
    rules: { 'no-console': 'off' },
  },
);
