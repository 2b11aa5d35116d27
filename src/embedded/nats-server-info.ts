import { connect } from 'node:net';

export type NatsServerInfo = { readonly name: string; readonly hasJetStream: boolean };

/**
 * Reads the INFO line that a nats-server sends to every new connection (NATS client protocol). Undefined if the port is
 * closed, another program answers, or nothing arrives for 2 s.
 */
export async function readNatsServerInfo(port: number): Promise<NatsServerInfo | undefined> {
  const socket = connect({ host: '127.0.0.1', port }).setEncoding('utf8').setTimeout(2_000);
  const line = await new Promise<string>((resolve) => {
    let text = '';
    const onEnd = () => {
      resolve('');
    };
    socket.on('error', onEnd).on('close', onEnd).on('timeout', onEnd);
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (text.includes('\r\n') || text.length > 65_536) {
        resolve(text);
      }
    });
  });
  socket.destroy();
  return parseInfo(line);
}

function parseInfo(line: string): NatsServerInfo | undefined {
  const [, json] = /^INFO (\{.*\}) *\r\n/.exec(line) ?? [];
  if (json === undefined) {
    return undefined;
  }
  const info: unknown = JSON.parse(json);
  if (typeof info !== 'object' || info === null || !('server_name' in info)) {
    return undefined;
  }
  return { name: String(info.server_name), hasJetStream: 'jetstream' in info && info.jetstream === true };
}
