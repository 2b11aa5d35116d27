import { StartError } from '../lib/start-error.ts';
import { runCommand } from './run-command.ts';

export type NatsVersion = { readonly major: number; readonly minor: number; readonly text: string };

/** Runs `nats-server --version`. Throws a StartError if the program is not a nats-server or does not run on this machine. */
export async function readNatsVersion(binary: string): Promise<NatsVersion> {
  const output = await runCommand({ command: binary, args: ['--version'], timeoutMs: 10_000, env: {} });
  const [, text, major, minor] = /v((\d+)\.(\d+)\.\S+)/.exec(output) ?? [];
  if (text === undefined) {
    throw new StartError(`${binary} --version did not print the version of a nats-server`);
  }
  return { major: Number(major), minor: Number(minor), text };
}

export function isAtLeast(version: NatsVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}
