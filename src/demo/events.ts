import { connect, headers } from 'nats';

export type SampleEvent = { readonly type: string; readonly data: unknown };

/** Events that a chat product and a dictation product might publish. */
export const SAMPLE_EVENTS: readonly SampleEvent[] = [
  {
    type: 'NEW_MESSAGE_FROM_VISITOR',
    data: { conversationId: 'c-1042', visitor: { name: 'Ada' }, message: 'Is anybody there?' },
  },
  { type: 'CONVERSATION_CREATED', data: { conversationId: 'c-1042', channel: 'website', visitor: { name: 'Ada' } } },
  {
    type: 'transcription.completed',
    data: { transcription: 'Please send the report by Friday.', model: 'large-v3', app: 'Mail', durationMs: 2_350 },
  },
];

type Publication = {
  readonly tenant: string;
  /** Begins the ids of the events. */
  readonly idPrefix: string;
};

/** Publishes as any service can: only the subject `events.<tenant>.<event type>` is specific to the engine. */
export async function publishSampleEvents(server: string, { tenant, idPrefix }: Publication): Promise<void> {
  // The client does not take user and password from the URL.
  const { host: servers, username: user, password: pass } = new URL(server);
  const connection = await connect({ servers, user, pass });
  const jetStream = connection.jetstream();
  for (const [index, { type, data }] of SAMPLE_EVENTS.entries()) {
    const messageHeaders = headers();
    messageHeaders.set('Event-Id', `${idPrefix}-${index + 1}`);
    await jetStream.publish(`events.${tenant}.${type}`, JSON.stringify(data), { headers: messageHeaders });
  }
  await connection.drain();
}
