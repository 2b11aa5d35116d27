import './styles/tokens.css';
import './styles/base.css';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { exchangeCode, takeCode } from './session/request.ts';
import { signIn } from './session/session.ts';
import { applyScheme } from './shell/preferences.ts';

applyScheme();
const code = takeCode();
if (code !== undefined) {
  // With a used code, the page for signing in is shown.
  const token = await exchangeCode(code).catch(() => undefined);
  if (token !== undefined) signIn(token);
}
const root = document.getElementById('root');
if (root === null) throw new Error('index.html has no #root');
createRoot(root).render(<App />);
