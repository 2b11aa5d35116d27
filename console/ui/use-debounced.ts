import { useEffect, useEffectEvent, useState } from 'react';

/** Milliseconds without a key after which a text is passed on: each text is another query. */
const TYPING_PAUSE_MS = 300;

type Debounced = {
  /** The text as it is typed. */
  readonly text: string;
  readonly type: (text: string) => void;
  /** Passes the text on before the pause, without spaces at its ends. */
  readonly pass: () => void;
};

/** A typed text that becomes the value when typing pauses. */
export function useDebounced(value: string, onChange: (value: string) => void): Debounced {
  const [text, setText] = useState(value);
  const [passed, setPassed] = useState(value);
  const typed = text.trim();
  // Something else changed the value, such as back, a link or a key.
  if (passed !== value) {
    setPassed(value);
    if (typed !== value) setText(value);
  }
  const pass = () => {
    setPassed(typed);
    onChange(typed);
  };
  const onPause = useEffectEvent(pass);
  useEffect(() => {
    if (typed === passed) return undefined;
    const timer = window.setTimeout(onPause, TYPING_PAUSE_MS);
    return () => window.clearTimeout(timer);
  }, [typed, passed]);
  return { text, type: setText, pass };
}
