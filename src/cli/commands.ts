import type { ParseArgsConfig, parseArgs } from 'node:util';

// This file runs before the version of Node.js is checked and before npm packages are loaded, so it imports types only.

type Option = {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  readonly default?: string | boolean;
  /** The placeholder of the value in the help; absent for booleans. */
  readonly value?: string;
  readonly meaning: string;
};

type CommandSpec = {
  readonly summary: string;
  /** The positional arguments, as the help shows them. */
  readonly positionals: string;
  readonly maxPositionals: number;
  /** Sentences for the help: preconditions, effects and limits. */
  readonly notes: readonly string[];
  readonly examples: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
};

const JSON_OUTPUT = { type: 'boolean', meaning: 'Prints one JSON object per line in place of a table.' } as const;

/** Options of every command that calls the GraphQL API. */
const API = {
  url: {
    type: 'string',
    value: '<url>',
    meaning: 'The engine. Default: WEBHOOKS_ENGINE_URL, then http://127.0.0.1 with PORT or 4000.',
  },
  'api-key-file': {
    type: 'string',
    value: '<path>',
    meaning:
      'A file with the API key. Default: WEBHOOKS_ENGINE_API_KEY, then ADMIN_API_KEY, then DATA_DIR/admin-api-key. (An argument would show the key to every user of the machine.)',
  },
  json: JSON_OUTPUT,
} as const;

const TENANT = {
  type: 'string',
  value: '<tenant>',
  meaning: "The tenant. A tenant's own key needs none.",
} as const;

const SELECTION = {
  tenant: TENANT,
  subscription: {
    type: 'string',
    multiple: true,
    value: '<id>',
    meaning: 'Only this webhook subscription; may be repeated.',
  },
  type: { type: 'string', multiple: true, value: '<event type>', meaning: 'Only this event type; may be repeated.' },
} as const;

/** Every command with its options. The help is printed from this table. */
export const COMMANDS = {
  start: {
    summary: 'Runs the engine until SIGTERM or SIGINT. The default without a command.',
    positionals: '',
    maxPositionals: 0,
    notes: [
      'Everything is set by environment variables, which `webhooks-engine --help` lists.',
      'SIGTERM and SIGINT stop the program within 25 s, after running attempts; a second signal ends it immediately.',
    ],
    examples: [],
    options: {},
  },
  migrate: {
    summary: 'Applies the migrations to the database of DATABASE_URL, and ends.',
    positionals: '',
    maxPositionals: 0,
    notes: [
      'The start of the engine does the same. Use this to migrate before a deployment, for example with another role.',
      'May run several times concurrently: one process migrates, and the others wait.',
    ],
    examples: ['DATABASE_URL=postgres://… SECRETS_KEY=… webhooks-engine migrate'],
    options: { json: JSON_OUTPUT },
  },
  doctor: {
    summary:
      'Checks configuration, Postgres, SECRETS_KEY, NATS, clock, DNS and versions, and prints remedies. Changes nothing.',
    positionals: '',
    maxPositionals: 0,
    notes: ['Run it with the environment of the engine. The exit code is 1 if a check failed; warnings do not count.'],
    examples: ['webhooks-engine doctor --target https://example.com/hooks'],
    options: {
      target: {
        type: 'string',
        value: '<url>',
        meaning: 'Also checks whether a webhook may be sent to this URL, and connects to it. No request is sent.',
      },
      json: JSON_OUTPUT,
    },
  },
  publish: {
    summary: 'Publishes an event.',
    positionals: '<event type> [<data> | @<file> | -]',
    maxPositionals: 2,
    notes: ['The data is JSON; @file reads a file, - reads standard input. Default: {}.'],
    examples: [`webhooks-engine publish order.paid '{"total": 12}' --tenant acme --id order-7-paid`],
    options: {
      tenant: TENANT,
      id: { type: 'string', value: '<id>', meaning: 'The id of the event. The same id twice is one event.' },
      'occurred-at': {
        type: 'string',
        value: '<time>',
        meaning: 'When it occurred: ISO 8601, or a duration before now such as 6h. Default: now.',
      },
      ...API,
    },
  },
  listen: {
    summary: 'Relays the events of a tenant to a URL on this machine, signed as a receiver gets them, until Ctrl-C.',
    positionals: '',
    maxPositionals: 0,
    notes: [
      'Creates a temporary webhook subscription, whose deliveries the engine answers itself, and deletes it at the end.',
      'If this command is killed, the next one with the same name deletes it; after an hour the engine deactivates it at its next delivery.',
      'The answers of the local URL are printed. They are not retried: the delivery log shows the relayed deliveries as successful.',
    ],
    examples: ['webhooks-engine listen --forward-to http://localhost:3000/hooks --tenant acme --type "order.*"'],
    options: {
      'forward-to': { type: 'string', value: '<url>', meaning: 'Where the webhooks are sent from this machine.' },
      tenant: TENANT,
      type: { type: 'string', multiple: true, value: '<event type>', meaning: 'Event types. Default: *.' },
      name: {
        type: 'string',
        value: '<name>',
        meaning: 'The name of the temporary subscription. Default: the user, the machine and the URL.',
      },
      'sink-url': {
        type: 'string',
        value: '<url>',
        meaning:
          'The path /sink of the engine as its senders reach it. Default: the URL of the API with the path /sink.',
      },
      ...API,
    },
  },
  tail: {
    summary: 'Prints the attempts of the delivery log as they are made, until Ctrl-C.',
    positionals: '',
    maxPositionals: 0,
    notes: ['Reconnects after an interruption without a gap and without duplicates.'],
    examples: ['webhooks-engine tail --tenant acme --failures', 'webhooks-engine tail --json | jq .statusCode'],
    options: {
      ...SELECTION,
      failures: { type: 'boolean', meaning: 'Only failed attempts.' },
      after: {
        type: 'string',
        value: '<cursor>',
        meaning: 'Begins with the attempts after this cursor, which --json prints with each attempt.',
      },
      ...API,
    },
  },
  replay: {
    summary: 'Sends past events again, as new deliveries, and shows the progress.',
    positionals: '',
    maxPositionals: 0,
    notes: ['A time is ISO 8601, or a duration before now: 30m, 6h, 2d. Ctrl-C stops the display, not the replay.'],
    examples: ['webhooks-engine replay --tenant acme --status FAILURE --from 6h --dry-run'],
    options: {
      ...SELECTION,
      status: {
        type: 'string',
        multiple: true,
        value: '<status>',
        meaning: 'Only deliveries with this status: SUCCESS, FAILURE, CANCELLED or PENDING; may be repeated.',
      },
      from: { type: 'string', value: '<time>', meaning: 'Only deliveries created at this time or later.' },
      to: { type: 'string', value: '<time>', meaning: 'Only deliveries created before this time.' },
      rate: { type: 'string', value: '<number>', meaning: 'Deliveries per second. Default: 50.' },
      'dry-run': { type: 'boolean', meaning: 'Counts the deliveries, and sends none.' },
      'no-wait': { type: 'boolean', meaning: 'Ends as soon as the replay has been started.' },
      ...API,
    },
  },
  keys: {
    summary: 'Lists, creates and revokes API keys.',
    positionals: 'list | create <name> | revoke <id>',
    maxPositionals: 2,
    notes: ['Needs a key with the scope ADMIN. A new key is printed once and cannot be read again.'],
    examples: ['webhooks-engine keys create backend --scope TENANT_WRITE --tenant acme'],
    options: {
      scope: {
        type: 'string',
        value: '<scope>',
        meaning: 'The scope of a new key: TENANT_WRITE (default), TENANT_READ, PUBLISH or ADMIN.',
      },
      tenant: TENANT,
      revoked: { type: 'boolean', meaning: 'Lists revoked keys as well.' },
      ...API,
    },
  },
  reseal: {
    summary: 'Seals every stored secret with the first value of SECRETS_KEY, while the engine runs.',
    positionals: '',
    maxPositionals: 0,
    notes: [
      'Run it with DATABASE_URL and SECRETS_KEY of the engine, after every process has been started with the new key first.',
      'Says when the other keys can be removed. May be interrupted and repeated. docs/rotation.md has all steps.',
    ],
    examples: ['SECRETS_KEY="$new,$old" DATABASE_URL=postgres://… webhooks-engine reseal'],
    options: { json: JSON_OUTPUT },
  },
} as const satisfies Readonly<Record<string, CommandSpec>>;

export type CommandName = keyof typeof COMMANDS;

type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T;

/** The values of a command's options, as node:util parses them. */
type Values<N extends CommandName> = ReturnType<
  typeof parseArgs<{ options: Mutable<(typeof COMMANDS)[N]['options']> & NonNullable<ParseArgsConfig['options']> }>
>['values'];

/** The arguments of a command: its options, each of which may be absent, and the positional arguments. */
export type Input<N extends CommandName> = {
  readonly values: Values<N>;
  readonly positionals: readonly string[];
};

export function isCommand(text: string): text is CommandName {
  return Object.hasOwn(COMMANDS, text);
}

export function specOf(name: CommandName): CommandSpec {
  return COMMANDS[name];
}
