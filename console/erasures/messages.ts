export const erasuresWords = {
  title: 'Erasures',
  label: 'Erasures of tenants, newest first',
  statuses: { RUNNING: 'Running', COMPLETED: 'Completed' },
  rows: 'Rows',
  jetStream: 'Messages',
  ended: 'Ended',
  remains: 'What remains',
  erase: 'Erase a tenant',
  eraseHint:
    'Deletes every event, delivery, attempt, webhook subscription, API key and audit entry of the tenant. It takes five minutes at least, and cannot be stopped or undone.',
  tenant: 'Name of the tenant',
  again: 'The name once more, to confirm',
  confirm: 'Erase everything',
  redact: 'Redact',
  redactTitle: 'Redact this event',
  redactHint:
    'Removes the data of the event, and the bodies of responses to it. Pending deliveries are cancelled. Which deliveries and attempts there were is kept. This cannot be undone.',
  typeEvent: (id: string) => `Type ${id} to confirm`,
  redacted: 'Redacted',
  empty: 'No erasure',
  emptyHint: 'An erasure deletes everything of a tenant from Postgres and JetStream.',
} as const;
