import { builder } from './builder.ts';

const CircuitStateEnum = builder.enumType('CircuitState', {
  description: 'Whether deliveries are sent to an endpoint.',
  values: {
    CLOSED: { description: 'They are.' },
    OPEN: { description: 'The endpoint keeps failing: only probes are sent, until one succeeds.' },
  } as const,
});

export const CircuitType = builder.prismaObject('SubscriptionState', {
  name: 'Circuit',
  description:
    'What keeps an endpoint that fails from being sent everything: it opens when 20 attempts in a row fail, or 70 % of at least 10 in five minutes.',
  fields: (t) => ({
    state: t.field({
      type: CircuitStateEnum,
      select: { openedAt: true },
      resolve: ({ openedAt }) => (openedAt === null ? 'CLOSED' : 'OPEN'),
    }),
    openedAt: t.expose('openedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Since when it has been open; null while it is closed.',
    }),
    nextProbeAt: t.expose('probeAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When the next delivery is sent as a probe; if that is past, as soon as one is due. Null while it is closed.',
    }),
  }),
});
