import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { preferences, setPreferences } from '../shell/preferences.ts';
import { Button } from './button.tsx';

/** Hides the values of customers' data on all pages, for a shared screen or a screenshot. */
export function RedactionSwitch() {
  const { hidesValues } = useStore(preferences);
  return (
    <Button kind="quiet" aria-pressed={hidesValues} onClick={() => setPreferences({ hidesValues: !hidesValues })}>
      {hidesValues ? messages.showValues : messages.hideValues}
    </Button>
  );
}
