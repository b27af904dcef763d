/* Colours for numbers. */
#ifndef ATTN_DATA_COLOUR_MAP_H
#define ATTN_DATA_COLOUR_MAP_H

/* Viridis (van der Walt & Smith 2015), straight lines between nine of its colours: from dark
 * (share 0 and below) to light (1 and above). */
void colour_viridis(float share, unsigned char rgb[3]);

/* Blue for -1 and below, white for 0, red for 1 and above. */
void colour_signed(float value, unsigned char rgb[3]);

#endif
