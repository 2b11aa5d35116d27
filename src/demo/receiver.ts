import { once } from 'node:events';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

export type DemoReceiver = {
  readonly url: string;
  /** The signing secret that verifies its requests. */
  setSecret(secret: string): void;
  close(): Promise<void>;
};

export type DemoReceiverOptions = {
  /** The event type whose first webhook is answered with 503. */
  readonly failsFirst: string;
  readonly onRequest: (description: string) => void;
};

/** A receiver as customers run it: verifies each webhook with the public Standard Webhooks library, and responds. */
export async function startDemoReceiver({ failsFirst, onRequest }: DemoReceiverOptions): Promise<DemoReceiver> {
  let secret = '';
  let failed = false;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const type = String(request.headers['webhook-event']);
      const isGenuine = verify(secret, Buffer.concat(chunks).toString(), request.headers);
      const status = !isGenuine ? 401 : type === failsFirst && !failed ? 503 : 200;
      failed ||= status === 503;
      onRequest(`${type}, signature ${isGenuine ? 'valid' : 'NOT valid'}, answering ${status}`);
      response.writeHead(status).end(status === 200 ? 'thank you' : 'not now');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the receiver does not listen on TCP');
  return {
    url: `http://127.0.0.1:${address.port}/webhooks`,
    setSecret: (value) => {
      secret = value;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function verify(secret: string, body: string, headers: NodeJS.Dict<string | string[]>): boolean {
  try {
    new Webhook(secret).verify(body, {
      'webhook-id': String(headers['webhook-id']),
      'webhook-timestamp': String(headers['webhook-timestamp']),
      'webhook-signature': String(headers['webhook-signature']),
    });
    return true;
  } catch {
    return false;
  }
}
