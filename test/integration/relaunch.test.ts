import { tmpdir } from 'node:os';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findProcesses, readProcess } from '../../src/embedded/running-process.ts';
import { NODE_FLAGS } from '../../src/relaunch.ts';
import { BUNDLED_PROGRAM } from '../support/compiled-program.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startReceiver } from '../support/receiver.ts';
import { type Program, runProgram } from '../support/run-program.ts';
import { postGraphql, startTestServices, subscribe, type TestServices, testEnv } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let program: Program;
beforeAll(async () => {
  services = await startTestServices();
});
afterEach(() => program.end('SIGKILL'));
afterAll(() => services.stop());

/** Starts `node dist/main.js`, waits until it is ready, and returns the pid of the program and its URL. */
async function start(): Promise<{ pid: number; url: string }> {
  const port = await findOwnPort();
  program = runProgram(BUNDLED_PROGRAM, {
    args: [],
    home: tmpdir(),
    nodeFlags: [],
    env: testEnv(services, { PORT: String(port), LOG_LEVEL: 'info' }),
  });
  const { pid } = JSON.parse(await program.firstLine) as { pid: number };
  await isLogged('ready');
  return { pid, url: `http://127.0.0.1:${port}` };
}

const isLogged = (message: string) =>
  waitFor(() => program.output().includes(`"msg":"${message}"`), { what: message, timeoutMs: 30_000 });

async function exitCode(): Promise<number | null> {
  const { child } = program;
  await waitFor(() => child.exitCode !== null || child.signalCode !== null, { what: 'its end' });
  return child.exitCode;
}

describe('the program that is started without the flags of `npm start`', () => {
  it('runs with them, and stops gracefully on one SIGTERM', async () => {
    const { pid } = await start();
    expect((await readProcess(pid))?.args).toEqual(expect.arrayContaining([...NODE_FLAGS]));
    program.child.kill('SIGTERM');
    expect(await exitCode()).toBe(0);
    await isLogged('stopped');
  });

  it('treats a SIGTERM to each of its processes as one', async () => {
    const { pid } = await start();
    for (const each of new Set([pid, program.child.pid ?? 0])) process.kill(each, 'SIGTERM');
    expect(await exitCode()).toBe(0);
    await isLogged('stopped');
  });

  it('ends at once on a second SIGTERM', async () => {
    const { url } = await start();
    const receiver = await startReceiver(() => 'hang');
    const graphql = <T>(query: string, variables = {}) => postGraphql<T>(url, { query, variables });
    const { id } = await subscribe(graphql, { url: receiver.url, timeoutMs: 30_000 });
    await graphql(`mutation { sendTestEvent(subscriptionId: "${id}") { __typename } }`);
    await receiver.waitForRequests(1);
    program.child.kill('SIGTERM');
    await isLogged('stopping');
    program.child.kill('SIGTERM');
    expect(await exitCode()).not.toBe(0);
    expect(program.output()).not.toContain('"msg":"stopped"');
    await receiver.close();
  });

  it('exits with the process that was started', async () => {
    const { pid } = await start();
    await program.end('SIGKILL');
    const isProgram = (args: readonly string[]) => args.some((arg) => arg.endsWith(BUNDLED_PROGRAM));
    const runs = async () => (await findProcesses(isProgram)).some((one) => one.pid === pid);
    await waitFor(async () => !(await runs()), { what: 'the end of the program' });
  });

  it('exits with its exit code and its message', async () => {
    program = runProgram(BUNDLED_PROGRAM, {
      args: [],
      home: tmpdir(),
      nodeFlags: [],
      env: { PORT: 'http' },
    });
    program.firstLine.catch(() => undefined);
    expect(await exitCode()).toBe(1);
    expect(program.errorOutput()).toContain('PORT must be a port number');
  });
});
