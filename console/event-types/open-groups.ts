/** Which groups of the catalogue are open: all or none of them, except some. */
export type OpenGroups = { readonly areOpen: boolean; readonly except: ReadonlySet<string> };

/** Up to this number of types, groups are open at first. */
const OPEN_UP_TO = 40;
/** Maximum exceptions in the URL. The latest are kept, so that the URL does not exceed limits of servers. */
const MAX_EXCEPTIONS = 40;

/** Reads the URL parameters `groups` and `except`, for a catalogue of `typeCount` types. */
export function readOpenGroups(params: URLSearchParams, typeCount: number): OpenGroups {
  const groups = params.get('groups');
  const areOpen = groups === null ? typeCount <= OPEN_UP_TO : groups === 'open';
  return { areOpen, except: new Set(params.get('except')?.split(',', MAX_EXCEPTIONS)) };
}

/** Whether the group is open. The groups of the event type in the URL are always open, so that its row is visible. */
export function isOpenGroup({ areOpen, except }: OpenGroups, prefix: string, shownType: string | null): boolean {
  return areOpen !== except.has(prefix) || shownType?.startsWith(prefix) === true;
}

/** The URL parameters after a group was opened or closed. */
export function withToggled({ areOpen, except }: OpenGroups, prefix: string): Record<string, string> {
  const others = [...except].filter((each) => each !== prefix);
  return paramsOf({ areOpen, except: new Set(except.has(prefix) ? others : [...others, prefix]) });
}

/** The URL parameters after these groups were opened. */
export function withOpened(groups: OpenGroups, prefixes: readonly string[]): Record<string, string> {
  const { areOpen, except } = groups;
  return paramsOf({
    areOpen,
    except: new Set(areOpen ? [...except].filter((each) => !prefixes.includes(each)) : [...except, ...prefixes]),
  });
}

/** The URL parameters. */
export function paramsOf({ areOpen, except }: OpenGroups): Record<string, string> {
  // `groups` is always set: the meaning of `except` must not depend on the size of the catalogue.
  return { groups: areOpen ? 'open' : 'closed', except: [...except].slice(-MAX_EXCEPTIONS).join(',') };
}
