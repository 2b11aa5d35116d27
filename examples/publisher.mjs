// Publishes one event as any service would: node examples/publisher.mjs <event type> <JSON> <id>
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect } from 'nats';

const [type = 'conversation.created', data = '{"n": 1}', id = randomUUID()] = process.argv.slice(2);
const servers = process.env.NATS_URL ?? (await readFile('.data/nats-url', 'utf8')).trim();

const nats = await connect({ servers });
// Take an id from your own data where there is one: published again after a crash, it is still one event.
const { seq } = await nats.jetstream().publish(`events.examples.${type}`, data, { msgID: id });
console.log(`published ${id}, as number ${seq}`);
await nats.close();
