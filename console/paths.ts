/** The address of each page. Ids of events are publishers' texts, so they are parameters and not part of the path. */
export const paths = {
  overview: () => '/',
  tenants: () => '/tenants',
  liveLog: (query?: string) => withParams('/log', { q: query }),
  event: (tenant: string, id: string) => withParams('/event', { tenant, id }),
  events: (params: Record<string, string | undefined> = {}) => withParams('/events', params),
  delivery: (id: string, attempt?: string) => withParams(`/deliveries/${encodeURIComponent(id)}`, { attempt }),
  deliveries: (params: Record<string, string | undefined> = {}) => withParams('/deliveries', params),
  subscriptions: (params: Record<string, string | undefined> = {}) => withParams('/subscriptions', params),
  subscription: (id: string) => `/subscriptions/${encodeURIComponent(id)}`,
  /** The filter playground of a subscription, with an optional sample event. */
  filter: (id: string, event?: string) => withParams(`/subscriptions/${encodeURIComponent(id)}/filter`, { event }),
  replays: () => '/replays',
  replay: (id: string) => `/replays/${encodeURIComponent(id)}`,
  catalogue: () => '/event-types',
  /** An entry of the catalogue; `path` is a path in the data of an event, such as `data.total`, whose rule in the schema is marked. */
  eventType: (name: string, path?: string) => withParams('/event-types', { type: name, path }),
  /** The list, with an optional open row. */
  rejectedEvents: (event?: string) => withParams('/rejected-events', { event }),
  jobs: () => '/jobs',
  job: (id: string) => `/jobs/${encodeURIComponent(id)}`,
  auditLog: (params: Record<string, string | undefined> = {}) => withParams('/audit-log', params),
  /** The lists, with an optional open row. */
  erasures: (erasure?: string) => withParams('/erasures', { erasure }),
  keys: (key?: string) => withParams('/keys', { key }),
};

function withParams(path: string, params: Readonly<Record<string, string | undefined>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value !== undefined && value !== '') search.set(name, value);
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}
