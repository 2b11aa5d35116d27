import '../styles/tokens.css';
import '../styles/base.css';
import { createRoot } from 'react-dom/client';
import { App } from '../app.tsx';
import { useStore } from '../graphql/store.ts';
import { session } from '../session/session.ts';
import { applyScheme } from '../shell/preferences.ts';
import { EmptyState, SkeletonRows } from '../ui/states.tsx';
import { portalWords } from './messages.ts';
import { absence, findSession } from './portal-session.ts';

/** The pages of the console after a session was found. */
function Portal() {
  const current = useStore(session);
  const why = useStore(absence);
  if (current !== undefined) return <App />;
  if (why === 'waiting') return <SkeletonRows />;
  const { title, hint } = portalWords[why];
  return (
    <main>
      <h1 className="visually-hidden">{portalWords.title}</h1>
      <EmptyState title={title}>{hint}</EmptyState>
    </main>
  );
}

applyScheme();
// Called before any await, because the page around the portal sends its port when this page has loaded.
void findSession();
const root = document.getElementById('root');
if (root === null) throw new Error('portal.html has no #root');
createRoot(root).render(<Portal />);
