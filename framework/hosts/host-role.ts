/** What a connection is for. A stuck VM freezes calls, an unread channel freezes channels; neither the rest. */
export type HostRole = 'control' | 'calls' | 'channels'
