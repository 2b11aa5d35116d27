import { tmpdir } from 'node:os';
import { compiledProgram } from './compiled-program.ts';
import { findOwnPort } from './own-port.ts';
import { runProgram } from './run-program.ts';
import { postGraphql, type TestServices, testEnv } from './test-app.ts';
import { waitFor } from './wait-for.ts';

export type EngineProcess = {
  readonly url: string;
  readonly graphql: <T>(query: string, variables?: Record<string, unknown>) => Promise<T>;
  /** Its log, and whatever else it has written. */
  output(): string;
  kill9(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** SIGTERM; resolves with the exit status. */
  terminate(): Promise<number | null>;
};

/** The whole program in a process of its own, ready, for tests that kill it. */
export async function startEngineProcess(
  services: Pick<TestServices, 'databaseUrl' | 'nats'>,
  env: Record<string, string> = {},
): Promise<EngineProcess> {
  const port = await findOwnPort();
  const program = runProgram(await compiledProgram(), {
    args: [],
    home: tmpdir(),
    env: testEnv(services, { PORT: String(port), LOG_LEVEL: 'info', ...env }),
  });
  // Its end is seen by what waits for it to be ready, or expected.
  program.firstLine.catch(() => undefined);
  const url = `http://127.0.0.1:${port}`;
  await isReady(url).catch((error: unknown) => {
    throw new Error(`the program is not ready: ${program.output()}`, { cause: error });
  });
  return {
    url,
    graphql: (query, variables = {}) => postGraphql(url, { query, variables }),
    output: () => program.output(),
    kill9: () => program.end('SIGKILL'),
    pause: () => void program.child.kill('SIGSTOP'),
    resume: () => void program.child.kill('SIGCONT'),
    terminate: async () => {
      await program.end('SIGTERM');
      return program.child.exitCode;
    },
  };
}

async function isReady(url: string): Promise<void> {
  await waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200, {
    what: 'the program',
    timeoutMs: 40_000,
  });
}
