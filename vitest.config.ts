import { defineConfig } from 'vitest/config';

// Vite would take the package's ES modules for our code, while Node takes CommonJS for that of libraries: two copies,
// of which neither knows the other's types.
const resolve = { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          sequence: { shuffle: true },
        },
      },
      {
        resolve,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          // Servers are started and killed, on few cores: one file after another keeps times honest.
          fileParallelism: false,
          // And in one process, so that each does not load everything again: our modules keep nothing between files.
          isolate: false,
          // For what hangs: what a test waits for has a limit of its own, and says what it was.
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
