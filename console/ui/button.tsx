import type { ComponentProps, ReactNode } from 'react';
import styles from './button.module.css';
import { Icon, type IconName } from './icons.tsx';

type ButtonProps = Omit<ComponentProps<'button'>, 'className' | 'type'> & {
  readonly kind?: 'primary' | 'plain' | 'quiet' | 'danger';
  readonly icon?: IconName;
  readonly type?: 'button' | 'submit';
  readonly children: ReactNode;
};

export function Button({ kind = 'plain', icon, type = 'button', children, ...rest }: ButtonProps) {
  return (
    <button {...rest} type={type} className={`${styles.button} ${styles[kind]}`}>
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </button>
  );
}

type IconButtonProps = Omit<ButtonProps, 'children' | 'kind'> & { readonly icon: IconName; readonly label: string };

/** A control of 28 px without a word; `label` names it and is its tooltip. */
export function IconButton({ icon, label, type = 'button', ...rest }: IconButtonProps) {
  return (
    <button {...rest} type={type} className={styles.iconButton} aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}
