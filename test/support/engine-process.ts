import { tmpdir } from 'node:os';
import { BUNDLED_PROGRAM } from './compiled-program.ts';
import { findOwnPort } from './own-port.ts';
import { runProgram } from './run-program.ts';
import { postGraphql, type TestServices, testEnv } from './test-app.ts';
import { waitUntilReady } from './wait-for.ts';

export type EngineProcess = {
  readonly url: string;
  readonly graphql: <T>(query: string, variables?: Record<string, unknown>) => Promise<T>;
  /** All output of the process: its log and everything else. */
  output(): string;
  kill9(): Promise<void>;
  /** Sends SIGSTOP; `resume` sends SIGCONT. */
  pause(): void;
  resume(): void;
  /** Sends SIGTERM; resolves with the exit status. */
  terminate(): Promise<number | null>;
  /** Whether the process has ended, for any reason. */
  hasEnded(): boolean;
};

type Services = Pick<TestServices, 'databaseUrl'> & { readonly nats: Pick<TestServices['nats'], 'url'> };

export type LaunchOptions = {
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
  /** Path of the program from the root of the repository: its compiled file, or a bundle of it. */
  readonly program: string;
};

/** Starts the whole program in its own process and waits until it is ready; for tests that kill it. */
export async function startEngineProcess(
  services: Services,
  env: Readonly<Record<string, string>> = {},
): Promise<EngineProcess> {
  const port = await findOwnPort();
  const engine = launchEngineProcess(services, {
    port,
    env: { LOG_LEVEL: 'info', ...env },
    program: BUNDLED_PROGRAM,
  });
  await waitUntilReady(engine).catch((error: unknown) => {
    throw new Error(`the program is not ready: ${engine.output()}`, { cause: error });
  });
  return engine;
}

/** Starts the program without waiting until it is ready: Postgres and NATS may be unavailable. */
export function launchEngineProcess(services: Services, { port, env, program: path }: LaunchOptions): EngineProcess {
  const program = runProgram(path, {
    args: [],
    home: tmpdir(),
    env: testEnv(services, { ...env, PORT: String(port) }),
  });
  // An early end is reported by the wait for readiness, or the test expects it.
  program.firstLine.catch(() => undefined);
  const url = `http://127.0.0.1:${port}`;
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
    hasEnded: () => program.child.exitCode !== null || program.child.signalCode !== null,
  };
}
