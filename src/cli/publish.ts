import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { connectApi, payloadOf } from './api.ts';
import { CommandError, usageError } from './failure.ts';
import { PUBLISH } from './operations.ts';
import { parseTime } from './options.ts';
import type { Run } from './run.ts';

export const publishEvent: Run<'publish'> = async ({ env, out }, { values, positionals }) => {
  const [type, data = '{}'] = positionals;
  if (type === undefined) throw usageError('Name the event type: webhooks-engine publish <event type> [<data>].');
  const input = {
    type,
    data: parse(await read(data)),
    tenant: values.tenant,
    id: values.id,
    occurredAt: parseTime('--occurred-at', values['occurred-at']),
  };
  const api = await connectApi(values, env);
  const { event, isKnown } = payloadOf((await api.request(PUBLISH, { input })).publishEvent);
  out.rows([{ id: event.id, tenant: event.tenant, type: event.type, createdAt: event.createdAt, isKnown }]);
  if (isKnown) out.note(`Not published again: the id ${event.id} is that of the event above.`);
  return 0;
};

async function read(source: string): Promise<string> {
  if (source === '-') return text(process.stdin);
  if (!source.startsWith('@')) return source;
  try {
    return await readFile(source.slice(1), 'utf8');
  } catch (error) {
    throw new CommandError(`${source.slice(1)} cannot be read: name a file with JSON.`, { cause: error });
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    throw usageError('The data is not JSON: quote it for the shell (\'{"total": 12}\'), or use @file or -.');
  }
}
