import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { bundledSchemaThread } from './test/support/bundled-schema-thread.ts';
import { SlowestFiles } from './test/support/slowest-files.ts';
import { SlowestFirst } from './test/support/slowest-first.ts';
import { WAIT_TIMEOUT_MS } from './test/support/wait-for.ts';

// Vite would take the package's ES modules for our code, while Node takes CommonJS for that of libraries: two copies,
// of which neither knows the other's types.
const resolve = { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] };

/** One less than there are cores, as by default, but not one alone of two. */
const UNIT_WORKERS = Math.max(2, availableParallelism() - 1);

export default defineConfig({
  test: {
    reporters: ['default', new SlowestFiles()],
    sequence: { sequencer: SlowestFirst },
    projects: [
      {
        plugins: [bundledSchemaThread],
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          // As below: in processes of their own the files take more than twice the CPU time.
          isolate: false,
          maxWorkers: UNIT_WORKERS,
          sequence: { shuffle: true, groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'console',
          include: ['console/**/*.test.ts'],
          isolate: false,
          maxWorkers: UNIT_WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        resolve,
        plugins: [bundledSchemaThread],
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          // The files of a worker share one process, so that each does not load everything again: our modules keep nothing
          // between files. A file has a database and a nats-server of its own.
          isolate: false,
          // As the program has it (src/relaunch.ts): fewer collections of short-lived objects.
          execArgv: ['--max-semi-space-size=32'],
          // Limits for tests that hang: each wait within a test has a shorter limit and says what it waited for.
          testTimeout: 300_000,
          hookTimeout: 300_000,
          expect: { poll: { timeout: WAIT_TIMEOUT_MS } },
          // Most tests wait for timers, processes and servers: more files at a time than cores.
          maxWorkers: 4,
          // The same for concurrent tests of a file.
          maxConcurrency: 12,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
