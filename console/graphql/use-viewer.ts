import { useQuery } from 'urql';
import { ViewerDocument } from '../generated/graphql.ts';

type ViewerState = {
  /** Whether the credential is valid for every tenant. False until the server has answered. */
  readonly isAdmin: boolean;
  readonly canWrite: boolean;
  /** The only tenant that the credential sees; undefined for an operator, and until the server has answered. */
  readonly tenant: string | undefined;
  /** Whether the session is limited to some webhook subscriptions. */
  readonly isLimited: boolean;
  readonly hidesPayloads: boolean;
};

/** The rights of the credential. The server enforces them; pages hide actions that it would reject. */
export function useViewer(): ViewerState {
  const [{ data }] = useQuery({ query: ViewerDocument, requestPolicy: 'cache-first' });
  const scope = data?.viewer.scope;
  return {
    isAdmin: scope === 'ADMIN',
    canWrite: scope === 'ADMIN' || scope === 'TENANT_WRITE',
    tenant: data?.viewer.tenant ?? undefined,
    isLimited: data?.viewer.subscriptionIds != null,
    hidesPayloads: data?.viewer.hidePayloads === true,
  };
}
