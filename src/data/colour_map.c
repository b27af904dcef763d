#include "data/colour_map.h"

enum { STOPS = 9 };

static const unsigned char VIRIDIS[STOPS][3] = {{68, 1, 84},    {71, 44, 122},  {59, 81, 139},
                                                {44, 113, 142}, {33, 144, 141}, {39, 173, 129},
                                                {92, 200, 99},  {170, 220, 50}, {253, 231, 37}};

static void between(const unsigned char from[3], const unsigned char to[3], float share, unsigned char rgb[3]) {
    for (int i = 0; i < 3; i++) {
        rgb[i] = (unsigned char)((float)from[i] * (1 - share) + (float)to[i] * share + 0.5f);
    }
}

void colour_viridis(float share, unsigned char rgb[3]) {
    float position = (share > 0 ? share < 1 ? share : 1 : 0) * (STOPS - 1);
    int stop = position < STOPS - 2 ? (int)position : STOPS - 2;
    between(VIRIDIS[stop], VIRIDIS[stop + 1], position - (float)stop, rgb);
}

void colour_signed(float value, unsigned char rgb[3]) {
    static const unsigned char WHITE[3] = {247, 247, 247}, BLUE[3] = {33, 102, 172}, RED[3] = {178, 24, 43};
    float size = value < 0 ? -value : value > 0 ? value : 0;
    between(WHITE, value < 0 ? BLUE : RED, size < 1 ? size : 1, rgb);
}
