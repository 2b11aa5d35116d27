import { type KeyboardEvent, type Ref, useId, useState } from 'react';
import { flushSync } from 'react-dom';
import { messages } from '../messages.ts';
import { IconButton } from '../ui/button.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { Icon } from '../ui/icons.tsx';
import { type Completion, completions, type KnownValues } from './filter.ts';
import styles from './filter-field.module.css';

type FilterFieldProps = {
  readonly value: string;
  readonly onChange: (value: string) => void;
  /** Called only while completions are shown. */
  readonly known: () => KnownValues;
  readonly problems: readonly string[];
  readonly onLeave: () => void;
  readonly ref: Ref<HTMLInputElement>;
};

/** A combobox for the filter language: Tab or Enter takes the chosen completion, Escape leaves to the list. */
export function FilterField({ value, onChange, known, problems, onLeave, ref }: FilterFieldProps) {
  const id = useId();
  const [caret, setCaret] = useState<number>();
  const [chosen, setChosen] = useState(-1);
  const offered = caret === undefined ? [] : completions(value, caret, known());
  const isOpen = offered.length > 0;
  const choice = offered[chosen];

  const take = (completion: Completion, input: HTMLInputElement) => {
    // Rendered at once, so that a key pressed before the next frame is inserted after the completion.
    flushSync(() => {
      onChange(completion.text);
      setChosen(-1);
      setCaret(completion.caret);
    });
    input.setSelectionRange(completion.caret, completion.caret);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    // After the last completion none is chosen, and then the first.
    if (step !== undefined && isOpen) setChosen(((chosen + 1 + step + offered.length + 1) % (offered.length + 1)) - 1);
    else if (step === 1) onLeave();
    else if ((event.key === 'Enter' || (event.key === 'Tab' && !event.shiftKey)) && choice !== undefined) {
      take(choice, event.currentTarget);
    } else if (event.key === 'Enter') {
      setCaret(undefined);
      onLeave();
    } else if (event.key === 'Escape' && isOpen) setCaret(undefined);
    else if (event.key === 'Escape') onLeave();
    else return;
    event.preventDefault();
  };
  return (
    <div className={styles.wrapper}>
      <div className={styles.field}>
        <Icon name="filter" />
        <input
          ref={ref}
          role="combobox"
          aria-label={messages.liveLog.filter}
          aria-expanded={isOpen}
          aria-controls={isOpen ? `${id}-list` : undefined}
          aria-autocomplete="list"
          aria-activedescendant={choice !== undefined ? `${id}-${chosen}` : undefined}
          aria-invalid={problems.length > 0}
          aria-describedby={`${id}-problems`}
          placeholder={messages.liveLog.placeholder}
          spellCheck={false}
          autoComplete="off"
          maxLength={2_000}
          value={value}
          onChange={(event) => {
            onChange(event.target.value);
            setCaret(event.target.selectionStart ?? undefined);
            setChosen(-1);
          }}
          onSelect={(event) => setCaret(event.currentTarget.selectionStart ?? undefined)}
          onBlur={() => setCaret(undefined)}
          onKeyDown={onKeyDown}
        />
        {value !== '' && <IconButton icon="close" label={messages.liveLog.clearFilter} onClick={() => onChange('')} />}
        {isOpen && (
          <ul id={`${id}-list`} role="listbox" aria-label={messages.liveLog.filter} className={styles.list}>
            {offered.map((completion, index) => (
              <li
                key={completion.label}
                id={`${id}-${index}`}
                role="option"
                aria-selected={index === chosen}
                onPointerDown={(event) => {
                  // The field keeps the focus.
                  event.preventDefault();
                  const input = event.currentTarget.closest('div')?.querySelector('input');
                  if (input != null) take(completion, input);
                }}
              >
                {completion.label}
                {completion.url !== undefined && (
                  <small className={styles.url}>
                    <Endpoint url={completion.url} />
                  </small>
                )}
              </li>
            ))}
          </ul>
        )}
      </div>
      <div id={`${id}-problems`} role="status" className={problems.length > 0 ? styles.problems : 'visually-hidden'}>
        {problems.map((problem) => (
          <p key={problem}>{problem}</p>
        ))}
      </div>
    </div>
  );
}
