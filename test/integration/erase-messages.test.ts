import { connect } from 'nats';
import { expect, it, onTestFinished } from 'vitest';
import { eraseMessages } from '../../src/nats/erase.ts';
import { startTestNats } from '../support/nats.ts';

it('rejects if the server refuses to delete messages, and ends no process', async () => {
  const nats = await startTestNats();
  onTestFinished(() => nats.stop());
  const connection = await connect({ servers: nats.url });
  onTestFinished(() => connection.close());
  const jsm = await connection.jetstreamManager();
  await jsm.streams.add({ name: 'LOCKED', subjects: ['locked.>'], deny_delete: true });
  for (let n = 0; n < 200; n += 1) await connection.jetstream().publish('locked.a', 'x');
  // An unhandled rejection fails the run: the refusals come while later messages are read.
  const request = { stream: 'LOCKED', subject: 'locked.>', afterSequence: 0, limit: 60, matches: () => true };
  await expect(eraseMessages(jsm, request)).rejects.toThrow('delete');
});
