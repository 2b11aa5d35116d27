import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import { postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { stall, startOtherLoopReceiver } from '../support/other-loop-receiver.ts';

const cleanUps = createCleanUps();

async function startReceiver(options: Parameters<typeof startOtherLoopReceiver>[0]) {
  const receiver = await startOtherLoopReceiver(options);
  cleanUps.push(() => receiver.close());
  return receiver;
}

function begin(host: string, timeoutMs: number) {
  const agents = new EgressAgents({
    allowCidrs: ['127.0.0.0/8', '::1/128'],
    allowHttp: 'always',
    denyPorts: new Set(),
  });
  cleanUps.push(() => {
    agents.close();
  });
  return postWithStaleConnectionRetry(agents, {
    url: `http://${host}/`,
    headers: {},
    body: Buffer.from('{}'),
    timeoutMs,
  });
}

/** Resolves when the headers of the next response have been read. */
function headersRead(): Promise<void> {
  return new Promise((resolve) => {
    const onHeaders = () => {
      unsubscribe('http.client.response.finish', onHeaders);
      resolve();
    };
    subscribe('http.client.response.finish', onHeaders);
  });
}

describe('while the event loop of the program stalls for longer than the timeout', () => {
  it.each([
    ['connects', () => Promise.resolve()],
    ['waits for the answer', (receiver: { requested(): Promise<unknown> }) => receiver.requested()],
  ])('an attempt that %s is not timed out', async (_, moment) => {
    const receiver = await startReceiver({ headersMs: 100 });
    const sending = begin(`127.0.0.1:${receiver.port}`, 1_000);
    await moment(receiver);
    stall(1_500);
    const outcome = await sending;
    expect(outcome).toMatchObject({ kind: 'response', statusCode: 200, body: 'begin', bodyTruncated: false });
    expect(outcome.responseTimeMs).toBeLessThan(1_000);
  });

  it('several times, an answered attempt is not timed out', async () => {
    const receiver = await startReceiver({ headersMs: 600 });
    const sending = begin(`127.0.0.1:${receiver.port}`, 1_000);
    await receiver.requested();
    for (let count = 0; count < 3; count += 1) {
      stall(700);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await sending).toMatchObject({ statusCode: 200 });
  });

  it('an attempt to a hanging receiver is still timed out', async () => {
    const receiver = await startReceiver({ headersMs: 'never' });
    const sending = begin(`127.0.0.1:${receiver.port}`, 1_000);
    await receiver.requested();
    stall(1_500);
    expect(await sending).toMatchObject({ kind: 'failure', reason: 'TIMEOUT' });
  });

  it('the rest of a body is still read', async () => {
    const receiver = await startReceiver({ holdsBodies: true });
    const sending = begin(`127.0.0.1:${receiver.port}`, 10_000);
    await headersRead();
    // After the timers of this turn, and before those of the next turn.
    await new Promise((resolve) => setImmediate(resolve));
    receiver.endBodies();
    stall(3_200);
    expect(await sending).toMatchObject({ statusCode: 200, body: 'begin', bodyTruncated: false });
  });

  it('one of several addresses that would have answered is not skipped', async () => {
    const receiver = await startReceiver({});
    // localhost also resolves to ::1, where nothing listens.
    const sending = begin(`localhost:${receiver.port}`, 5_000);
    for (let turn = 0; turn < 3; turn += 1) {
      await new Promise<void>((resolve) => {
        process.nextTick(resolve);
      });
      stall(700);
    }
    expect(await sending).toMatchObject({ statusCode: 200 });
  });
});
