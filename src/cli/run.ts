import process from 'node:process';
import type { Environment } from './api.ts';
import type { CommandName, Input } from './commands.ts';
import { CommandError } from './failure.ts';
import { createOutput, type Output } from './output.ts';

/** The environment, output and stop signal of a command. */
export type Context = {
  readonly env: Environment;
  readonly out: Output;
  /** Aborts at SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
};

/** Resolves with the exit code; throws a CommandError or a StartError if it fails in an expected way. */
export type Run<N extends CommandName> = (context: Context, input: Input<N>) => Promise<number>;

/** Commands are loaded when they run, because each loads its own packages. `start` is in main.ts. */
const RUNS: { readonly [N in Exclude<CommandName, 'start'>]: () => Promise<Run<N>> } = {
  migrate: async () => (await import('./migrate.ts')).migrateDatabase,
  doctor: async () => (await import('./doctor.ts')).runDoctor,
  publish: async () => (await import('./publish.ts')).publishEvent,
  listen: async () => (await import('./listen.ts')).listen,
  tail: async () => (await import('./tail.ts')).tail,
  replay: async () => (await import('./replay.ts')).replay,
  reseal: async () => (await import('./reseal.ts')).reseal,
  keys: async () => (await import('./keys.ts')).manageKeys,
};

/** Runs a command with the environment and the terminal of this process, and returns its exit code. */
export async function runCommand<N extends Exclude<CommandName, 'start'>>(name: N, input: Input<N>): Promise<number> {
  const stopping = new AbortController();
  const stop = () => {
    // With the handlers removed, a second signal ends the process immediately.
    for (const signal of STOP_SIGNALS) process.off(signal, stop);
    stopping.abort();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  // The reader of the pipe has exited, as in `… | head`.
  process.stdout.on('error', stop);
  const values: { readonly json?: unknown } = input.values;
  const out = createOutput(values.json === true);
  try {
    const run = await RUNS[name]();
    return await run({ env: process.env, out, signal: stopping.signal }, input);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    out.note(error.message);
    return error.exitCode;
  }
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;
