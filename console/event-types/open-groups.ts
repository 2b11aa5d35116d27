/** Which groups of the catalogue are open: all or none of them, except some. */
export type OpenGroups = { readonly areOpen: boolean; readonly except: ReadonlySet<string> };

/** A catalogue of up to this many types begins with open groups. */
const OPEN_UP_TO = 40;
/** Exceptions that the address keeps, the latest ones: it must not become too long for a server. */
const MAX_EXCEPTIONS = 40;

/** Reads the parameters `groups` and `except` of the address, for a catalogue of so many types. */
export function readOpenGroups(params: URLSearchParams, typeCount: number): OpenGroups {
  const groups = params.get('groups');
  const areOpen = groups === null ? typeCount <= OPEN_UP_TO : groups === 'open';
  return { areOpen, except: new Set(params.get('except')?.split(',', MAX_EXCEPTIONS)) };
}

/** Whether the group is open. Those of the event type that the address shows are, so that it is seen where it is. */
export function isOpenGroup({ areOpen, except }: OpenGroups, prefix: string, shownType: string | null): boolean {
  return areOpen !== except.has(prefix) || shownType?.startsWith(prefix) === true;
}

/** The parameters of the address after a group was opened or closed. */
export function withToggled({ areOpen, except }: OpenGroups, prefix: string): Record<string, string> {
  const others = [...except].filter((each) => each !== prefix);
  return paramsOf({ areOpen, except: new Set(except.has(prefix) ? others : [...others, prefix]) });
}

/** The parameters of the address after these groups were opened. */
export function withOpened(groups: OpenGroups, prefixes: readonly string[]): Record<string, string> {
  const { areOpen, except } = groups;
  return paramsOf({
    areOpen,
    except: new Set(areOpen ? [...except].filter((each) => !prefixes.includes(each)) : [...except, ...prefixes]),
  });
}

/** The parameters of the address. */
export function paramsOf({ areOpen, except }: OpenGroups): Record<string, string> {
  // The first parameter is there in any case: the meaning of the second must not depend on the size of the catalogue.
  return { groups: areOpen ? 'open' : 'closed', except: [...except].slice(-MAX_EXCEPTIONS).join(',') };
}
