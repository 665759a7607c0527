//! Channels at work: the doors of sources, the steps, the workers of destinations.
