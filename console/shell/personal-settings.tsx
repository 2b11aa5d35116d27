import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { signOut } from '../session/session.ts';
import { Button, IconButton } from '../ui/button.tsx';
import { IS_PORTAL } from './front-end.ts';
import { preferences, setPreferences } from './preferences.ts';

/** Zone of the times, colour scheme, and the way out. */
export function PersonalSettings() {
  const { zone, scheme } = useStore(preferences);
  const words = messages.top;
  const isDark = scheme === 'dark' || (scheme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  return (
    <>
      <Button
        kind="quiet"
        title={words.zoneButton}
        aria-label={`${words.zone[zone]}: ${words.zoneButton}`}
        onClick={() => setPreferences({ zone: zone === 'utc' ? 'local' : 'utc' })}
      >
        {words.zone[zone]}
      </Button>
      <IconButton
        icon={isDark ? 'sun' : 'moon'}
        label={words.schemeButton}
        onClick={() => setPreferences({ scheme: isDark ? 'light' : 'dark' })}
      />
      {!IS_PORTAL && <IconButton icon="out" label={words.signOut} onClick={signOut} />}
    </>
  );
}
