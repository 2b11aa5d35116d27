import { createContext, type ReactNode, useContext, useEffect, useMemo } from 'react';
import { Provider } from 'urql';
import { session } from '../session/session.ts';
import { type Clients, createClients } from './client.ts';

const ClientsContext = createContext<Clients | undefined>(undefined);

/** Gives pages the clients of the session with this id. */
export function ClientsProvider({ sessionId, children }: { readonly sessionId: number; readonly children: ReactNode }) {
  const clients = useMemo(() => createClients(() => keyOf(sessionId)), [sessionId]);
  useEffect(() => () => void clients.live.dispose(), [clients]);
  return (
    <ClientsContext value={clients}>
      <Provider value={clients.urql}>{children}</Provider>
    </ClientsContext>
  );
}

/** The key of this session; empty after another session has started. */
function keyOf(sessionId: number): string {
  const current = session.get();
  return current?.id === sessionId ? current.key : '';
}

export function useClients(): Clients {
  const clients = useContext(ClientsContext);
  if (clients === undefined) throw new Error('outside of ClientsProvider');
  return clients;
}
